# Prefect's server and worker, Evidently's pages: everything that trains. Large (TensorFlow), and apart for that reason.
#
#   docker build --file deploy/docker/training.Dockerfile --tag mien/training:dev .
#
# With --build-arg SIGNING=1 it can sign models (docs/signing.md; 18 MB more).
# Behind a package index of one's own: as serving.Dockerfile.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ARG SIGNING=
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
COPY deploy/docker/uv.txt requirements/pipeline.txt requirements/serving.txt requirements/flows.txt requirements/signing.txt /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /build/uv \
    && /build/uv/bin/python -m pip install --quiet --no-cache-dir --require-hashes --requirement /build/uv.txt
RUN --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    /build/uv/bin/uv venv --quiet --python "$(command -v python)" /opt/venv \
    && /build/uv/bin/uv pip sync --quiet --no-cache --compile-bytecode --require-hashes \
         --python /opt/venv/bin/python /build/pipeline.txt /build/serving.txt /build/flows.txt ${SIGNING:+/build/signing.txt}

FROM ${PYTHON}
ARG VERSION=0.0.0+unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="mien training" \
      org.opencontainers.image.description="DVC, TensorFlow, Prefect and Evidently, for a checkout that is mounted" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
# git: every training works in a clone of its own.
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends ca-certificates git >/dev/null \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*' \
    && git config --system user.name mien \
    && git config --system user.email mien@localhost
# As in serving.Dockerfile: owners of new volumes.
RUN groupadd --gid 10001 mien \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mien/home --shell /usr/sbin/nologin mien \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/mien /var/lib/mien/home /var/lib/mien-pictures
COPY --from=build /opt/venv /opt/venv
COPY --chmod=0755 deploy/docker/worker.sh /usr/local/bin/mien-worker
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/mien/home \
    PYTHONUNBUFFERED=1 \
    DVC_NO_ANALYTICS=1 \
    DO_NOT_TRACK=1 \
    GX_ANALYTICS_ENABLED=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    TF_CPP_MIN_LOG_LEVEL=2
WORKDIR /var/lib/mien
# The checkout with DVC's cache, clones of trainings, Prefect's settings.
VOLUME /var/lib/mien
USER 10001:10001
STOPSIGNAL SIGTERM
CMD ["mien-worker"]
