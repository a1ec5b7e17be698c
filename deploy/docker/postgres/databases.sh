#!/bin/sh
# Run once, when the volume is new: a database and a role for each program, none of which sees another's.
set -eu
create() {
  # Quoting is psql's own: -v and :'…' (no password is ever part of the statement's text).
  psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set role="$1" --set password="$2" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
SQL
}
create mlflow "$MLFLOW_DB_PASSWORD"
create prefect "$PREFECT_DB_PASSWORD"
create observations "$MIEN_DB_PASSWORD"
