"""Run DVC's stages: which ones there are, in which order, in a clone of the checkout.

workspace   the clone that a run works in, and the lock that keeps runs apart
data        DVC's settings, data and earlier results in the clone
reuse       results of an earlier run as a start, results of this run as a branch
graph       stages and their order
scheduler   starts each stage once its inputs are ready
tasks       the Prefect task of one stage
executor    runs one stage, here in a child process
stages      what DVC's exit status and output mean
progress    epochs of a training as an artifact in Prefect's pages
commands    git and dvc as child processes
dvc_program run by path: `dvc repro` with an exit status for temporary failures, and DVC's remote
"""
