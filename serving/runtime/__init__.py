"""The model that is live: its identity, its admission, its requests.

identity     which model: name, version, digest, lineage
live         the slot that holds it; requests in flight keep the old one until they are done
admission    what a new version must pass before it answers anybody
batching     a bounded queue in front of it, worker threads, micro-batches
"""
