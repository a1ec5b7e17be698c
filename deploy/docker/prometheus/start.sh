#!/bin/sh
# The key with which /metrics is asked, in memory only: Prometheus reads keys from files.
set -eu
umask 077
printf %s "$MIEN_METRICS_KEY" >/tmp/metrics-key
exec prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus --storage.tsdb.retention.time=30d
