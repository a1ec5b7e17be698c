#!/bin/sh
# The password of .env, in memory only, then nginx as process 1.
set -eu
umask 077
# nginx compares the plain text; a hash would need a program that the image does not have.
printf 'admin:{PLAIN}%s\n' "$MLFLOW_PASSWORD" >/tmp/passwords
exec nginx -g 'daemon off;'
