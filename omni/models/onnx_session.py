"""How an ONNX model is opened: on the CPU, with threads that sleep between calls.

ONNX Runtime's threads spin by default while they wait, which starves the other models of a
machine with two cores.
"""

from pathlib import Path

import onnxruntime as ort

_ERRORS_ONLY = 3


def open_session(model: Path | bytes, num_threads: int) -> ort.InferenceSession:
    """Load a model, a file or its bytes; how it was exported is not the user's to read of."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
