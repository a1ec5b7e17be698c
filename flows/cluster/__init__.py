"""The training flow over several machines: engines `ray` and `dask`.

Stages of one architecture run on nodes, all others on the coordinator, which is the machine of the flow run.
They share the git repository, DVC's default remote and MLflow, and nothing else: no folder, no database file.
"""
