"""Keeps the served model in step with a registry or a path, without MLflow in the process that answers.

location     parses MIEN_MODEL
sources      an MLflow registry, a file or a folder as the source of a model
registry_changes  notices without MLflow that a registry changed
registry_process  asks MLflow, in a process that ends when nothing changes
poller       child process: polls the source, downloads, checks, writes the state file
state        the state file, written by the poller and read by every worker
supervisor   keeps one poller running for each state folder
watcher      in every worker: notices a new state file, admits the model, switches
service      `ModelSync`, which the application starts and stops
resolve      fetches the model of a location once, for a program that does not keep running
"""
