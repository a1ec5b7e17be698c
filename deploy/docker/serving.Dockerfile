# The service: everything of the `serving` extra and nothing else.
#
#   docker build --file deploy/docker/serving.Dockerfile --tag mien/serving:dev .
#
# With --build-arg SIGNING=1 it can check signatures of models (docs/signing.md; 19 MB more).
# Behind a package index of one's own: --secret id=pip,src=$HOME/.config/pip/pip.conf --secret id=uv,src=uv.toml
# For a release PYTHON is given with its digest (docs/deploy.md, "Pinned bases").
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ARG SIGNING=
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
COPY deploy/docker/uv.txt requirements/serving.txt requirements/signing.txt /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /build/uv \
    && /build/uv/bin/python -m pip install --quiet --no-cache-dir --require-hashes --requirement /build/uv.txt
# Compiled here: at run time the file system is read-only, and every start would compile again.
RUN --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    /build/uv/bin/uv venv --quiet --python "$(command -v python)" /opt/venv \
    && /build/uv/bin/uv pip sync --quiet --no-cache --compile-bytecode --require-hashes \
         --python /opt/venv/bin/python /build/serving.txt ${SIGNING:+/build/signing.txt}
COPY serving /app/serving
RUN /opt/venv/bin/python -m compileall -q /app/serving
# YuNet's file, checked against its digest. Without a network the build says that it is missing and goes on.
COPY pipelines/weights/face_model.py /build/
RUN PYTHONPATH=/app /opt/venv/bin/python /build/face_model.py /opt/venv/share/mien

FROM ${PYTHON}
ARG VERSION=0.0.0+unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="mien serving" \
      org.opencontainers.image.description="Follows a model in MLflow's registry and tells emotions of faces" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
# A number, not a name: Kubernetes' runAsNonRoot cannot look names up.
# The pictures' folder is a volume of docker-compose.yml: a new volume takes its owner from what the image has there.
RUN groupadd --gid 10001 mien \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mien \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/mien /var/lib/mien-pictures
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MIEN_HOST=0.0.0.0 \
    MIEN_PORT=8000 \
    MIEN_CACHE_DIR=/var/lib/mien/models \
    MIEN_KEEP_IMAGES_DIR=/var/lib/mien/pictures \
    MIEN_DATABASE_URL=sqlite:////var/lib/mien/observations.db
WORKDIR /app
# All that is written, with /tmp; the rest may be read-only.
VOLUME /var/lib/mien
EXPOSE 8000
USER 10001:10001
STOPSIGNAL SIGTERM
# Whether the process answers. Without a model it runs and is not ready, which is not a reason to restart it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MIEN_PORT'] + '/livez', timeout=4)"]
# No shell between: SIGTERM reaches the service, which answers what it has taken and ends.
CMD ["python", "-m", "serving"]
