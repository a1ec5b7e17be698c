"""The quality gate: decides whether the selected model may be registered. It publishes nothing.

estimates       metrics of one or two models with 95 % intervals, by resampling people
noninferiority  whether a drop is within its margin, larger, or unclear
rules           checks computed from estimates and thresholds
evaluation      evaluates the selected model and compares it with production; smoke test
corruption      what it knows of corrupted pictures
production      the production model's answers to the same pictures
record          the verdict in `reports/gate.json`
remedies        what to do about each failed or unclear check
stage           the DVC stage
"""
