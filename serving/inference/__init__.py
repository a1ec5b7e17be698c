"""The model that is live: its identity, its admission, its requests.

identity     which model: name, version, digest, lineage
live         the slot that holds it; requests in flight keep the old one until they are done
admission    what a new version must pass before it answers anybody
memory       what a replaced model leaves is given back to the system
queueing     a bounded queue in front of it: who is woken, how much each takes
batching     worker threads and micro-batches
"""
