"""`make up`: MLflow, Prefect, a worker and the service on one machine, as processes of honcho."""
