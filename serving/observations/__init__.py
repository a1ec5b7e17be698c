"""Observations: numbers of every answer in an SQL database, written outside the request path.

`records` defines the rows, `recorder` accepts rows without waiting, `buffer` holds them until they are
written, `store` reads and writes the database, `images` keeps pictures where the operator asked for it.
"""
