"""Pure pipeline steps: values and paths in, results out. One DVC stage is one module.

`dvc.yaml` wires them; nothing here knows Prefect or FastAPI.
"""
