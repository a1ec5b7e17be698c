"""The collect flow.

flow        its parameters and steps
intake      which of the kept pictures become data, and why the others do not
dataset     contents of the data, and how a new version is added
"""
