#!/bin/sh
# A checkout with its data in /var/lib/mien/checkout, DVC's remote on the store, then the worker of `make up`.
set -eu
checkout=/var/lib/mien/checkout
mkdir -p "$HOME" "${PREFECT_HOME:-$HOME/.prefect}"
if [ ! -d "$checkout/.git" ]; then
  # Cloned to a temporary folder and then moved: an interrupted clone is not a checkout.
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
# Pictures that were added in a mounted folder and pushed nowhere: DVC's cache is laid out like a remote.
if [ -d "$TRAINING_REPOSITORY/.dvc/cache" ]; then
  dvc remote add --local --force --quiet source "$TRAINING_REPOSITORY/.dvc/cache"
fi
# Of no use yet where they are nowhere: a training asks again, and says what it lacks.
[ -d data ] || dvc pull --quiet data.dvc || dvc pull --quiet --remote source data.dvc \
  || dvc pull --quiet --remote sample data.dvc \
  || echo "the data of data.dvc are not on the store, not in $TRAINING_REPOSITORY and not the sample; dvc push them" >&2
# The file is what the health check looks for; /tmp is empty at every start.
exec python -m flows.dev_stack.worker /tmp/deployed
