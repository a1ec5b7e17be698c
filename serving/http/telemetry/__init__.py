"""What the service reports about itself: metrics for Prometheus, log lines, traces for a collector."""
