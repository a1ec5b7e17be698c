"""The training flow.

flow        its parameters and steps
summary     the final sentence
artifacts   tables and texts in Prefect's pages
report      the HTML report: in MLflow, or as a file
"""
