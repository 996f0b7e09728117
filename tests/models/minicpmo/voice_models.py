"""Small stand-ins for the two ONNX models of the official token2wav folder: same inputs, same kinds
of outputs, and what they say depends on the recording."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from omni.models.minicpmo.cloning import SPEAKER, TOKENIZER

FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
NUM_CODES, SPEAKER_SIZE = 6561, 192


def write_voice_models(folder: Path, num_codes: int = NUM_CODES, size: int = SPEAKER_SIZE) -> None:
    onnx.save(tokenizer(num_codes), folder / TOKENIZER)
    onnx.save(speaker(size), folder / SPEAKER)


def tokenizer(num_codes: int) -> onnx.ModelProto:
    """[1, 128, T] and its length to a code for every four frames: how loud they are."""
    nodes = [
        helper.make_node("Identity", ["feats_length"], ["unused"]),
        helper.make_node("ReduceMean", ["feats"], ["loud"], axes=[1], keepdims=1),
        helper.make_node(
            "AveragePool", ["loud"], ["pooled"], kernel_shape=[4], strides=[4], ceil_mode=1
        ),
        helper.make_node("Mul", ["pooled", "scale"], ["scaled"]),
        helper.make_node("Abs", ["scaled"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["whole"], to=INT32),
        helper.make_node("Mod", ["whole", "most"], ["codes3"]),
        helper.make_node("Squeeze", ["codes3", "axis"], ["codes"]),
    ]
    constants = {
        "scale": np.array(3000, np.float32),
        "most": np.array(num_codes, np.int32),
        "axis": np.array([1], np.int64),
    }
    return model(nodes, constants, [("feats", FLOAT, [1, 128, "T"]), ("feats_length", INT32, [1])],
                 [("codes", INT32, [1, "N"])])  # fmt: skip


def speaker(size: int) -> onnx.ModelProto:
    """[1, T, 80] to a vector: how each mel varies, mixed."""
    mixed = np.random.default_rng(0).standard_normal((80, size)).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["input", "input"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["spread"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["spread", "mixed"], ["output"]),
    ]
    return model(nodes, {"mixed": mixed}, [("input", FLOAT, [1, "T", 80])],
                 [("output", FLOAT, [1, size])])  # fmt: skip


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: Sequence[tuple[str, int, list[int | str]]],
    outputs: Sequence[tuple[str, int, list[int | str]]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "stand-in",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made
