"""How the service learns which model to serve, without MLflow in the process that answers.

location     MIEN_MODEL parsed: what is followed
target       the state file: what the follower found, read by every worker
source       what the follower asks of either of the two below
disk         a file or folder that is followed
registry     an MLflow registry that is followed; the only module that imports MLflow
follower     the child process: polls, downloads, checks, writes the state file
supervisor   keeps one follower running for each state folder
watcher      in every worker: sees the state file change, admits the model, switches
service      what the application starts and stops
"""
