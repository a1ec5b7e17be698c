"""The gate's judgement: checks, what is asked of whom, and the verdict as a record. Publishes nothing.

checks.py     numbers and thresholds in, checks out
judging.py    the case, both models' answers to the same pictures
verdict.py    what `reports/gate.json` holds
smoke.py      does the file load and answer
"""
