#!/bin/sh
# SeaweedFS in one process, with the one identity of .env; without a file of identities it would let everybody in.
set -eu
umask 077
cat >/tmp/identities.json <<JSON
{"identities": [{"name": "mien", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
JSON
exec weed server -dir=/data -ip=store -ip.bind=0.0.0.0 -master.volumeSizeLimitMB=1024 \
  -s3 -s3.port=8333 -s3.config=/tmp/identities.json
