"""What the collect flow is made of.

intake      which of the kept pictures become data, and why the others do not
dataset     what the data hold already, and how pictures are added to them
"""
