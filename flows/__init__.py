"""Prefect flows: order, retries and schedules around the DVC stages. No arithmetic lives here."""
