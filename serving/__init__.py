"""The service: follows the registry, answers requests, records observations.

Never imports TensorFlow, Keras, `pipelines` or `flows`.
"""
