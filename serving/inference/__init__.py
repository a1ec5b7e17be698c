"""The live model: its identity, its admission, and the batching of its requests.

onnx_classifier   one exported model in ONNX Runtime, checked against its contract
sessions          creates ONNX Runtime sessions
watchdog          stops a load or a run that takes too long
model_slot        identity of a model, and the slot that holds the live one
admission         the checks that a new version must pass before it answers requests
batching          bounded queue, worker threads and micro-batches
"""
