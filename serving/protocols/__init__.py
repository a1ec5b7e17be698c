"""Standard inference protocols: bytes to arrays and arrays to bytes.

    tensors          the contract's tensors: values, shapes, counts; framing of binary tensors
    v2               Open Inference Protocol, version 2 (KServe, Triton)
    mlflow_scoring   MLflow's scoring protocol
    bodies           the JSON of both protocols' answers, as types

These modules do not depend on HTTP, threads or recording.
"""
