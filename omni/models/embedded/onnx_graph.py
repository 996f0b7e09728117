"""Hides how an ONNX model is written from weights that were published for another framework.

Activations are [B, C, H, W] throughout; padding is TensorFlow's "SAME". Weights are added once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from omni.errors import AssetError

_OPSET = 17
_IR_VERSION = 8
_SAME = {"auto_pad": "SAME_UPPER"}

Attributes = Mapping[str, Any]  # of an ONNX node: text, a number or numbers


class GraphWriter:
    """A graph in the making. Tensors are known by name, as in ONNX."""

    def __init__(self, input_name: str) -> None:
        self._input = input_name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str, value: NDArray[np.generic]) -> str:
        """A constant tensor; returns its name."""
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(
        self, op: str, inputs: Sequence[str], output: str, attributes: Attributes | None = None
    ) -> str:
        """An operation; returns the name of its output."""
        self._nodes.append(helper.make_node(op, list(inputs), [output], **(attributes or {})))
        return output

    def conv(self, inputs: Sequence[str], output: str, stride: int, groups: int = 1) -> str:
        """A convolution of (activation, kernel, bias if any)."""
        return self.node(
            "Conv", inputs, output, {"strides": [stride] * 2, "group": groups, **_SAME}
        )

    def relu6(self, name: str, output: str) -> str:
        low = self.weight("relu6/low", np.array(0, np.float32))
        high = self.weight("relu6/high", np.array(6, np.float32))
        return self.node("Clip", [name, low, high], output)

    def finish(self, outputs: Sequence[str], name: str) -> bytes:
        """The model, ready for a session.

        Raises:
            AssetError: the graph does not hold together, so the weights are not those expected.
        """
        floats = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(self._input, floats, [1, 3, "height", "width"])],
            [helper.make_tensor_value_info(output, floats, [None] * 4) for output in outputs],
            list(self._weights.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
        model.ir_version = _IR_VERSION
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise AssetError(f"{name}: the weights do not fit together", param=name) from error
        return bytes(model.SerializeToString())
