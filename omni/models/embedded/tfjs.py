"""Hides a TensorFlow.js graph model (JSON and packed weights): read as data, rewritten as ONNX.

Only the operations of convolutional networks are known; anything else is refused by name. Format:
tfjs-converter's graph-model. Axes go from [B, H, W, C] to [B, C, H, W].
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omni.errors import AssetError
from omni.models.embedded.onnx_graph import GraphWriter

_SAME_IN_ONNX: Final = {"Mul": "Mul", "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Relu": "Relu",
                        "Sigmoid": "Sigmoid", "Identity": "Identity"}  # fmt: skip
_CONVOLUTIONS: Final = (
    "Conv2D",
    "_FusedConv2D",
    "DepthwiseConv2dNative",
    "FusedDepthwiseConv2dNative",
)


def to_onnx(graph: Path, weights: Path, outputs: tuple[str, ...]) -> bytes:
    """The part of the model that `outputs` need, as an ONNX model whose input is "image".

    Raises:
        AssetError: not such a model, or one with operations that are not known here.
    """
    try:
        described = json.loads(graph.read_text())
        nodes = {node["name"]: node for node in described["modelTopology"]["node"]}
        packed = _unpack(described["weightsManifest"], weights.read_bytes())
        return _Rewriter(nodes, packed).rewrite(outputs)
    except (KeyError, TypeError, ValueError) as error:
        raise AssetError(f"{graph.name} is no graph model: {error}", param=graph.name) from error


def _unpack(manifest: list[dict[str, Any]], data: bytes) -> dict[str, NDArray[np.generic]]:
    """The named tensors; 16-bit floats are widened, other quantisations are not in use here."""
    tensors: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
        tensors[entry["name"]] = values.astype(entry["dtype"])
        offset += values.nbytes
    return tensors


class _Rewriter:
    def __init__(
        self, nodes: dict[str, dict[str, Any]], tensors: dict[str, NDArray[np.generic]]
    ) -> None:
        self._nodes = nodes
        self._tensors = tensors
        self._graph = GraphWriter("image")
        self._done: dict[str, str] = {}

    def rewrite(self, outputs: tuple[str, ...]) -> bytes:
        for output in outputs:
            self._visit(output)
        return self._graph.finish(outputs, "tfjs")

    def _visit(self, name: str) -> str:
        """Rewrite what `name` needs, then itself; returns its name in the new graph."""
        if name not in self._done:
            self._done[name] = self._write(self._nodes[name])
        return self._done[name]

    def _write(self, node: dict[str, Any]) -> str:
        name, op = node["name"], node["op"]
        if op == "Placeholder":
            return "image"
        if op == "Const":
            return self._graph.weight(name, _channels_last_to_first(self._tensors[name]))
        if op in _CONVOLUTIONS:
            return self._convolution(node)
        first = self._visit(node["input"][0])
        if op in _SAME_IN_ONNX:
            rest = [self._visit(each) for each in node["input"][1:]]
            return self._graph.node(_SAME_IN_ONNX[op], [first, *rest], name)
        match op:
            case "Relu6":
                return self._graph.relu6(first, name)
            case "Mean":  # over the picture, in every network of this kind
                return self._graph.node("GlobalAveragePool", [first], name)
            case "ConcatV2":  # over channels; the last input is the axis
                parts = [self._visit(each) for each in node["input"][:-1]]
                return self._graph.node("Concat", parts, name, {"axis": 1})
            case "ResizeBilinear":
                return self._doubled(first, name)
        raise ValueError(f"operation {op} is not known")

    def _convolution(self, node: dict[str, Any]) -> str:
        name, attributes = node["name"], node["attr"]
        activation = self._visit(node["input"][0])
        kernel = self._tensors[node["input"][1]]  # [kh, kw, in, out or multiplier]
        is_depthwise = "Depthwise" in node["op"]
        groups = kernel.shape[2] if is_depthwise else 1
        order = (2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1)
        inputs = [activation, self._graph.weight(node["input"][1], kernel.transpose(order))]
        fused = [base64.b64decode(s).decode() for s in _listed(attributes, "fused_ops", "s")]
        if "BiasAdd" in fused:
            bias = node["input"][2]
            inputs.append(self._graph.weight(f"{bias}/flat", self._tensors[bias].reshape(-1)))
        stride = int(_listed(attributes, "strides", "i")[1])
        after = [each for each in fused if each != "BiasAdd"]
        written = self._graph.conv(inputs, f"{name}/conv" if after else name, stride, groups)
        if not after:
            return written
        if after == ["Relu6"]:
            return self._graph.relu6(written, name)
        if after == ["Relu"]:
            return self._graph.node("Relu", [written], name)
        raise ValueError(f"fused operations {after} are not known")

    def _doubled(self, name: str, output: str) -> str:
        """Twice as high and wide, sampled as TensorFlow did before half-pixel centres."""
        scales = self._graph.weight("doubled/scales", np.array([1, 1, 2, 2], np.float32))
        attributes = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
        return self._graph.node("Resize", [name, "", scales], output, attributes)


def _listed(attributes: dict[str, Any], name: str, kind: str) -> list[str]:
    found: list[str] = attributes.get(name, {}).get("list", {}).get(kind, [])
    return found


def _channels_last_to_first(value: NDArray[np.generic]) -> NDArray[np.generic]:
    """A constant that is broadcast over a picture: [C] becomes [C, 1, 1]."""
    return value.reshape(-1, 1, 1) if value.ndim == 1 else value
