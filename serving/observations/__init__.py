"""What the service saw: numbers of every answer in an SQL database, written off the hot path.

`observation` says what a row is, `recorder` takes rows without ever waiting, `store` reads and writes the
database, `pictures` keeps pictures where the operator asked for it.
"""
