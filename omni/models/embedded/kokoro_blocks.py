"""Hides how the generator's residual blocks, nine tenths of Kokoro's cost, are made fast on a CPU.

They are written anew with time before channels: an int8 convolution is then one matrix product
with weights packed once, where `ConvInteger` unfolds and packs anew on every call. The weights are
the pinned file's own, bit for bit; only bias and rounding of the sums differ.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

GENERATOR = "/decoder/decoder/generator/"
BLOCKS = (*(f"resblocks.{i}" for i in range(6)), "noise_res.0", "noise_res.1")
EPSILON = 1e-5  # of AdaIN1d's instance norm
NONE: Mapping[str, Any] = MappingProxyType({})
SWAP: Mapping[str, Any] = MappingProxyType({"perm": [0, 2, 1]})  # time and channels
_TO_END = np.iinfo(np.int64).max


class Rewriter:
    """Replaces the costly parts of the Kokoro graph in place; what they replace is left unused."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._named = {node.name: node for node in graph.node}
        self._nodes: list[NodeProto] = []
        self._replaced: dict[str, list[NodeProto]] = {}
        self._constants: dict[str, TensorProto] = {}
        self._weighting = ""

    def rewrite(self, blocks: Sequence[str]) -> None:
        """Write these residual blocks and every other convolution of stride 1 anew."""
        for block in blocks:
            prefix = GENERATOR + block
            last = self._named[f"{prefix}/Add_8"]
            self._block(prefix, self._entry(prefix), last.output[0])
            self._replace(last)
        for node in list(self._graph.node):
            if (
                node.op_type == "ConvInteger"
                and not node.name.startswith(tuple(GENERATOR + block for block in blocks))
                and _first(node, "strides") == 1
            ):
                self._replace(self._plain(node))
        nodes = [
            new
            for node in self._graph.node
            for new in self._replaced.get(next(iter(node.output), ""), [node])
        ]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(self._constants.values())

    def _replace(self, old: NodeProto) -> None:
        """Let the new nodes stand where `old` made the same result."""
        self._replaced[old.output[0]] = self._nodes
        self._nodes = []

    def _plain(self, conv: NodeProto) -> NodeProto:
        """A convolution by itself; returns the node that made its result."""
        name = f"fast{conv.name}"
        last: NodeProto = self._named[f"{conv.name}_output_scale_mul"]
        timed = self._op("Transpose", f"{name}/timed", [conv.input[0]], SWAP)
        made = self._product(name, [timed, self._scales(conv)[0], conv.input[2]], conv)
        self._op("Transpose", str(last.output[0]), [made], SWAP)
        return last

    def _entry(self, prefix: str) -> str:
        """The block's input: what its first residual sum adds to the convolution."""
        total = self._named[f"{prefix}/Add_2"]
        return str(next(name for name in total.input if not name.startswith(f"{prefix}/convs2")))

    def _block(self, prefix: str, entry: str, result: str) -> None:
        x = self._op("Transpose", f"{prefix}/timed", [entry], SWAP)
        self._weighting = self._weights_of_mean(prefix, x)
        for stage in range(3):
            h = x
            for half in (1, 2):
                name = f"{prefix}/{half}.{stage}"
                h = self._excited(
                    name,
                    h,
                    f"{prefix}/adain{half}.{stage}",
                    self._alpha(prefix, 2 * stage + half - 1),
                )
                h = self._conv(name, h, f"{prefix}/convs{half}.{stage}/Conv_quant")
            x = self._op("Add", f"{prefix}/sum.{stage}", [h, x])
        self._op("Transpose", result, [x], SWAP)

    def _weights_of_mean(self, prefix: str, x: str) -> str:
        """1/T, T times: [1, 1, T]."""
        length = self._op("Shape", f"{prefix}/length", [x], {"start": 1, "end": 2})
        lead = self._constant("lead", np.array([1, 1], np.int64))
        shape = self._op("Concat", f"{prefix}/weighting_shape", [lead, length], {"axis": 0})
        share = self._op(
            "Reciprocal",
            f"{prefix}/share",
            [self._op("Cast", f"{prefix}/count", [length], {"to": TensorProto.FLOAT})],
        )
        return self._op("Expand", f"{prefix}/weighting", [share, shape])

    def _excited(self, name: str, x: str, norm: str, alpha: NDArray[np.float32]) -> str:
        """AdaIN, y = (x − mean) / sqrt(var) · gain + bias, then snake, y + sin²(αy) / α.

        Written as (t + sin² t) / α with t = αy = x · rate + shift: three passes fewer.
        """
        rate, shift = self._affine(name, x, norm, alpha)
        turned = self._op("Mul", f"{name}/turned", [x, rate])
        angle = self._op("Add", f"{name}/angle", [turned, shift])
        wave = self._op("Sin", f"{name}/wave", [angle])
        square = self._op("Mul", f"{name}/square", [wave, wave])
        total = self._op("Add", f"{name}/total", [angle, square])
        inverse = self._constant(f"{name}/inverse", 1 / alpha.reshape(1, 1, -1))
        return self._op("Mul", f"{name}/snake", [total, inverse])

    def _affine(self, name: str, x: str, norm: str, alpha: NDArray[np.float32]) -> tuple[str, str]:
        """α · gain / sqrt(var) and α · (bias − mean · gain / sqrt(var)), each [1, 1, C]."""
        row = self._constant("row", np.array([1, 1, -1], np.int64))
        gain = self._op("Reshape", f"{name}/gain", [f"{norm}/Add_1_output_0", row])
        bias = self._op("Reshape", f"{name}/bias", [f"{norm}/Slice_1_output_0", row])
        mean = self._mean(f"{name}/mean", x)
        power = self._mean(f"{name}/power", self._op("Mul", f"{name}/squared", [x, x]))
        centre = self._op("Mul", f"{name}/centre", [mean, mean])
        variance = self._op(
            "Relu", f"{name}/variance", [self._op("Sub", f"{name}/excess", [power, centre])]
        )
        epsilon = self._constant("epsilon", np.array(EPSILON, np.float32))
        spread = self._op(
            "Sqrt", f"{name}/spread", [self._op("Add", f"{name}/safe", [variance, epsilon])]
        )
        turns = self._constant(f"{name}/alpha", alpha.reshape(1, 1, -1))
        scale = self._op("Div", f"{name}/scale", [gain, spread])
        offset = self._op(
            "Sub", f"{name}/offset", [bias, self._op("Mul", f"{name}/drift", [mean, scale])]
        )
        return (
            self._op("Mul", f"{name}/rate", [scale, turns]),
            self._op("Mul", f"{name}/shift", [offset, turns]),
        )

    def _mean(self, name: str, x: str) -> str:
        """Mean over time as a product with a row of 1/T: five times as fast as ReduceMean."""
        return self._op("MatMul", name, [self._weighting, x])

    def _conv(self, name: str, x: str, old: str) -> str:
        quantised = [f"{name}/{part}" for part in ("u8", "u8_scale", "u8_zero")]
        self._nodes.append(
            helper.make_node("DynamicQuantizeLinear", [x], quantised, name=quantised[0])
        )
        return self._product(name, quantised, self._named[old])

    def _product(self, name: str, quantised: list[str], old: NodeProto) -> str:
        """A convolution, every output frame as one product of its K·C inputs with the kernel.

        `quantised` names the input as uint8 [1, T, C], its scale and its zero point.
        """
        kernel, (_, scale, bias) = self._kernel(old), self._scales(old)
        x, factor, zero = quantised
        size, dilation = kernel.shape[2], _first(old, "dilations")
        if size > 1:
            pad = dilation * (size - 1) // 2
            pads = self._constant(f"pads.{pad}", np.array([0, pad, 0, 0, pad, 0], np.int64))
            padded = self._op("Pad", f"{name}/padded", [x, pads, zero])
            taps = [
                self._tap(f"{name}/tap.{tap}", padded, tap * dilation, (size - 1) * dilation)
                for tap in range(size)
            ]
            x = self._op("Concat", f"{name}/window", taps, {"axis": 2})
        matrix = kernel.transpose(2, 1, 0).reshape(-1, kernel.shape[0])  # [K * C, O]
        weight = self._constant(f"{name}/kernel", np.ascontiguousarray(matrix))
        made = self._op(
            "MatMulIntegerToFloat", f"{name}/conv", [x, weight, factor, scale, zero, "", bias]
        )
        self._nodes[-1].domain = "com.microsoft"
        return made

    def _kernel(self, conv: NodeProto) -> NDArray[np.int8]:
        """A convolution's weights [O, C, K], signed."""
        weight, zero = (
            numpy_helper.to_array(self._weights[name]).astype(np.int16)
            for name in (conv.input[1], conv.input[3])
        )
        return (weight - zero).astype(np.int8)

    def _scales(self, conv: NodeProto) -> tuple[str, str, str]:
        """Names of the scales of a convolution's input and weights, and of its bias, if any."""
        both = self._named[f"{conv.name}_output_scale_mul"].input[1]
        of_weight = next(name for name in self._makers[both].input if name in self._weights)
        of_input = next(name for name in self._makers[both].input if name != of_weight)
        return of_input, of_weight, both.removesuffix("_scale") if "bias" in both else ""

    def _alpha(self, prefix: str, index: int) -> NDArray[np.float32]:
        sine = self._named[f"{prefix}/Sin" + (f"_{index}" if index else "")]
        phase = self._makers[sine.input[0]]
        return numpy_helper.to_array(
            self._weights[next(name for name in phase.input if name in self._weights)]
        )

    def _tap(self, name: str, padded: str, start: int, spare: int) -> str:
        end = start - spare or _TO_END
        bounds = [
            self._constant(f"at.{value}", np.array([value], np.int64)) for value in (start, end, 1)
        ]
        return self._op("Slice", name, [padded, *bounds])

    def _op(
        self, kind: str, output: str, inputs: Sequence[str], attributes: Mapping[str, Any] = NONE
    ) -> str:
        """Add a node whose name and only result are both `output`; returns it."""
        node = helper.make_node(kind, inputs, [output], name=output)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self._nodes.append(node)
        return output

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        full = f"fast/{name}"
        if full not in self._constants:
            self._constants[full] = numpy_helper.from_array(value, full)
        return full


def _first(node: NodeProto, attribute: str) -> int:
    """The one value of a list attribute of a one-dimensional convolution."""
    return int(next(a.ints[0] for a in node.attribute if a.name == attribute))
