"""The collect flow.

flow        its parameters and steps
crops       the part of a picture that becomes data for one of its faces
intake      which of the kept pictures become data, and why the others do not
dataset     contents of the data, and how a new version is added
"""
