"""Creates sessions of ONNX Runtime, from bytes without external data.

A graph can name files that hold its weights (external data), and ONNX Runtime reads them from the working
directory: a model could return any file there as its answer. Sessions made here refuse such a graph.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from serving.errors import ModelTimeout
from serving.inference.watchdog import WATCHDOG

# External data is looked for in this folder, and below a file there is none:
# https://onnxruntime.ai/docs/api/c/ (kOrtSessionOptionsModelExternalInitializersFileFolderPath)
_NO_FOLDER = "/dev/null"


def open_session(model: bytes, *, threads: int, limit_s: float | None = None) -> Any:
    """Create an `onnxruntime.InferenceSession` on the CPU.

    Args:
        model: content of an ONNX file.
        threads: number of threads of one run; ONNX Runtime's default is the number of the host's cores. With
            one thread the order of additions is always the same.
        limit_s: maximum time to load it, seconds; None: unlimited.

    Raises:
        ModelTimeout: it took longer.
        Exception: ONNX Runtime's, which share no other base: not an ONNX file, or one with external data.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores from those that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NO_FOLDER)
    # Not ONNX Runtime's own format, which it would recognise by itself and which has rules of its own.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4
    make = partial(onnxruntime.InferenceSession, model, options, providers=["CPUExecutionProvider"])
    if limit_s is None:
        return make()
    watch = WATCHDOG.begin(limit_s=limit_s, cancel=partial(options.set_load_cancellation_flag, True))
    try:
        return make()
    except Exception as error:
        if watch.expired:
            raise ModelTimeout(what="it was not loaded", limit_s=limit_s) from error
        raise
    finally:
        WATCHDOG.end(watch)


def load_problem(error: Exception) -> str:
    """Why ONNX Runtime refuses a model, in one line."""
    reason = str(error).partition("\n")[0].removeprefix("[ONNXRuntimeError] : ")
    lowered = reason.lower()
    if "external" in lowered or _NO_FOLDER in reason:
        return f"its weights lie in other files (external data); save it as one file ({reason[:200]})"
    return f"not a readable ONNX file ({reason})"
