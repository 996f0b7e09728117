"""Hides how the pinned Kokoro graph is cut in two, so that a clause's dead air is not decoded.

The first half gives durations, text features, pitch and energy for a whole clause and is cheap;
the second turns any run of those frames into sound and is nearly all of the cost.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx

from omni.errors import AssetError
from omni.models.embedded.kokoro_blocks import BLOCKS, Rewriter

FRAME_SAMPLES = 600  # one duration step of the predictor, 25 ms at 24 kHz
PROSODY = {
    "durations": "/encoder/Clip_output_0",  # [1, tokens], in frames
    "features": "/encoder/MatMul_1_output_0",  # [1, 512, frames]
    "pitch": "/encoder/Reshape_output_0",  # [1, 2 * frames], Hz
    "energy": "/encoder/Reshape_1_output_0",  # [1, 2 * frames]
}


def halves(model_path: Path) -> tuple[bytes, bytes]:
    """Cut the graph at the prosody tensors; returns (prosody, decoder), each an ONNX model.

    Raises:
        AssetError: the file is not the Kokoro export whose tensor names are known here.
    """
    model = onnx.load(str(model_path))
    made = {name for node in model.graph.node for name in node.output}
    if missing := sorted(set(PROSODY.values()) - made):
        raise AssetError(f"{model_path.name} is not the pinned Kokoro export: no {missing[0]}")
    Rewriter(model.graph).rewrite(BLOCKS)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    prosody = _part(model, ["tokens", "style", "speed"], list(PROSODY.values()))
    decoder = _part(
        model, [PROSODY["features"], PROSODY["pitch"], PROSODY["energy"], "style"], ["audio"]
    )
    return prosody, decoder


def needed(
    graph: onnx.GraphProto, inputs: Sequence[str], outputs: Sequence[str]
) -> list[onnx.NodeProto]:
    """The nodes that make `outputs` from `inputs`, in the graph's order."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output) and not set(inputs).intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
    return nodes[::-1]


def _part(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The model between `inputs` and `outputs`, with its weights."""
    nodes = needed(model.graph, inputs, outputs)
    wanted = {name for node in nodes for name in node.input}
    weights = [w for w in model.graph.initializer if w.name in wanted]
    whole = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    graph = onnx.helper.make_graph(
        nodes,
        "kokoro",
        [whole.get(name) or _floats(name) for name in inputs],
        [whole.get(name) or _floats(name) for name in outputs],
        weights,
    )
    part = onnx.helper.make_model(graph, opset_imports=list(model.opset_import))
    part.ir_version = model.ir_version
    return bytes(part.SerializeToString())


def _floats(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
