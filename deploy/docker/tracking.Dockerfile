# MLflow's server, with PostgreSQL and S3 behind it; also makes the store's bucket.
#
#   docker build --file deploy/docker/tracking.Dockerfile --tag mien/tracking:dev .
#
# Behind a package index of one's own: as serving.Dockerfile.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
COPY deploy/docker/uv.txt requirements/tracking.txt /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /build/uv \
    && /build/uv/bin/python -m pip install --quiet --no-cache-dir --require-hashes --requirement /build/uv.txt
RUN --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    /build/uv/bin/uv venv --quiet --python "$(command -v python)" /opt/venv \
    && /build/uv/bin/uv pip sync --quiet --no-cache --compile-bytecode --require-hashes \
         --python /opt/venv/bin/python /build/tracking.txt
# What starts MLflow's server is the same as for `make up`.
COPY serving /app/serving
COPY pipelines /app/pipelines
COPY flows /app/flows
RUN /opt/venv/bin/python -m compileall -q /app

FROM ${PYTHON}
ARG VERSION=0.0.0+unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="mien tracking" \
      org.opencontainers.image.description="MLflow's server: runs, registry, promotion" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
RUN groupadd --gid 10001 mien \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mien
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    HOST=0.0.0.0 \
    MLFLOW_PORT=5000
WORKDIR /app
EXPOSE 5000
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MLFLOW_PORT'] + '/health', timeout=4)"]
CMD ["python", "-m", "flows.dev_stack.mlflow_server"]
