"""The standard protocols that tensors come in: bytes to arrays and arrays to bytes.

    binary        the binary tensor extension's framing
    compression   bodies that were compressed on their way
    tensors       the contract's tensors: values, shapes, counts
    v2            Open Inference Protocol, version 2 (KServe, Triton)
    scoring       MLflow's scoring protocol

Nothing here knows of HTTP, of threads or of what is recorded.
"""
