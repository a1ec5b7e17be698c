"""How a model answers corrupted pictures: blurred, noisy, compressed, dark, bright, covered, turned.

corruptions  eight corruptions at three severities
pictures     the test pictures that are corrupted, and a model's answers to them
scores       accuracy, corruption error and calibration of these answers, with intervals
record       the result in `reports/robustness.json`
stage        the DVC stage, and the same for any model on demand
"""
