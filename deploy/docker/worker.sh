#!/bin/sh
# A checkout with its data in /var/lib/mien/checkout, DVC's remote on the store, then the worker of `make up`.
set -eu
checkout=/var/lib/mien/checkout
mkdir -p "$HOME" "${PREFECT_HOME:-$HOME/.prefect}"
if [ ! -d "$checkout/.git" ]; then
  # Beside its place and then moved: a clone that was cut off is no checkout.
  rm -rf "$checkout.partial"
  git clone --quiet "${TRAINING_REPOSITORY:?where the checkout is cloned from: an address or a mounted folder}" "$checkout.partial"
  mv "$checkout.partial" "$checkout"
fi
cd "$checkout"
# New commits of a branch that was changed nowhere else; anything else is for a person to decide.
git pull --quiet --ff-only || echo "the checkout stays at $(git rev-parse --short HEAD): git pull failed" >&2
# In .dvc/config.local, which no commit holds; clones of trainings take it over. Keys come from AWS_*.
dvc remote add --local --force --quiet --default store "s3://${STORE_BUCKET:?the bucket on the store}/dvc"
dvc remote modify --local --quiet store endpointurl "${AWS_ENDPOINT_URL:?address of the store}"
[ -d data ] || dvc pull --quiet data.dvc || dvc pull --quiet --remote sample data.dvc
exec python -m flows.stack.worker
