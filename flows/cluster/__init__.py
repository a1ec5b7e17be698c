"""The training flow over several machines: engines `ray` and `dask`.

Stages of one architecture run on nodes, all others on the coordinator, the machine of the flow run. Nodes and
coordinator share the git repository, DVC's default remote and MLflow; they share no folder and no database
file.

engines        the engines by name: a task runner and an executor for each
executor       the coordinator's side of a stage
job            what travels between coordinator and node
worker         the node's side of a stage
git_transfer   the coordinator's files as a commit
dvc_transfer   inputs and results through the DVC remote, with `flows.repro.dvc_program`
backends       connections to Ray and Dask
preflight      what is missing before a run can start
"""
