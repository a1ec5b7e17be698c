"""The drift flow.

flow        its parameters and steps
window      compares the newest observations with the model's reference, and stores the result
alarm       whether drift lasts, and training runs that it starts
publish     results for people: Prefect artifacts, MLflow, notifications
workspace   Evidently's workspace, which shows the windows over time
"""
