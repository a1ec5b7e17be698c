"""`make up`: MLflow, Prefect, a worker and the service on one machine, held together by honcho."""
