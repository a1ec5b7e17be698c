"""What the drift flow is made of.

window      the served model's newest observations against its reference, kept in the database
alarm       whether drift lasts, and whether something is done about it already
records     where people look: Prefect's artifacts, MLflow's version, notifications
workspace   Evidently's, which shows the windows over time
"""
