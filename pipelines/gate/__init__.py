"""The quality gate: decides whether the selected model may be registered. It publishes nothing.

rules        checks computed from metrics and thresholds
evaluation   evaluates the selected and the production model on the same pictures; smoke test
record       the verdict in `reports/gate.json`
remedies     what to do about each failed check
stage        the DVC stage
"""
