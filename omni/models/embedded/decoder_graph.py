"""A Qwen2 or Qwen3 decoder as an ONNX graph over a cache of slots, its matrices in blocks of int8.

Hides ONNX Runtime's own operators: block-quantised products, grouped-query attention that rotates
and writes keys in place, and normalisation with the residual added.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]
"""Float tensors by transformers' names, read one at a time."""

Shape = Sequence[int | str]

_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
_IR_VERSION = 9
_BLOCKS = (128, 64, 32, 16)  # inputs that share a scale: as many as divide the matrix
_RUNTIMES_OWN = ("GroupQueryAttention", "MatMulNBits", "SkipSimplifiedLayerNormalization")
_INT8_PRODUCTS = 4  # MatMulNBits' accuracy_level: activations are quantised, too, row by row


def decoder(weights: Weights, config: Any) -> onnx.ModelProto:
    """From embeddings `x` [B, N, D] to `hidden` [B, N, D], after the last norm.

    Other inputs: `last` int32 [B], index of each context's last token; `total` int32, tokens of
    the longest; `cos`, `sin` [T, R/2]; `key.i`, `value.i` [B, H, T, R] of layer i, which come out
    as `new_key.i`, `new_value.i` and may be the same memory.
    """
    graph = _Graph(weights, config)
    residual, added = "x", ""
    for layer in range(config.num_hidden_layers):
        stem = f"model.layers.{layer}"
        normed, residual = graph.norm(f"{stem}.input_layernorm", residual, added)
        added = graph.attention(layer, normed)
        normed, residual = graph.norm(f"{stem}.post_attention_layernorm", residual, added)
        added = graph.mlp(stem, normed)
    graph.norm("model.norm", residual, added, "hidden")
    caches = [f"{kind}.{i}" for i in range(config.num_hidden_layers) for kind in ("key", "value")]
    cache: Shape = ["B", config.num_key_value_heads, "T", _head_dim(config)]
    rows: Shape = ["B", "N", config.hidden_size]
    angles: Shape = ["T", _head_dim(config) // 2]
    inputs = [
        _floats("x", rows),
        helper.make_tensor_value_info("last", TensorProto.INT32, ["B"]),
        helper.make_tensor_value_info("total", TensorProto.INT32, []),
        _floats("cos", angles),
        _floats("sin", angles),
        *(_floats(name, cache) for name in caches),
    ]
    outputs = [_floats("hidden", rows), *(_floats(f"new_{name}", cache) for name in caches)]
    return graph.finish(inputs, outputs)


def head(weights: Weights, config: Any) -> onnx.ModelProto:
    """From `hidden` [N, D] to `logits` [N, V]; without one of its own it is the embedding table."""
    graph = _Graph(weights, config)
    name = "lm_head" if "lm_head.weight" in weights else "model.embed_tokens"
    graph.linear([name], "hidden", "logits")
    return graph.finish(
        [_floats("hidden", ["N", config.hidden_size])],
        [_floats("logits", ["N", config.vocab_size])],
    )


def int8_rows(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A table [N, K] as int8 with one scale per row: values [N, K], scales [N, 1]."""
    scales = np.maximum(np.abs(matrix).max(1, keepdims=True), 1e-8) / 127
    return np.rint(matrix / scales).astype(np.int8), scales


class _Graph:
    """Nodes and weights in the making. Tensors are known by name, as in ONNX."""

    def __init__(self, weights: Weights, config: Any) -> None:
        self._weights, self._config = weights, config
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def norm(self, name: str, residual: str, added: str, output: str = "") -> tuple[str, str]:
        """Normalises `residual` + `added` (nothing if ""); returns the result and the sum."""
        output = output or f"{name}/normed"
        scale = self._constant(f"{name}.weight", self._weights[f"{name}.weight"])
        numbers = {"epsilon": self._config.rms_norm_eps}
        if not added:
            self._node("SimplifiedLayerNormalization", [residual, scale], [output], numbers)
            return output, residual
        outputs = [output, "", "", f"{name}/sum"]
        inputs = [added, residual, scale]
        self._node("SkipSimplifiedLayerNormalization", inputs, outputs, numbers)
        return output, outputs[-1]

    def attention(self, layer: int, normed: str) -> str:
        stem = f"model.layers.{layer}.self_attn"
        heads, groups = self._config.num_attention_heads, self._config.num_key_value_heads
        names = [f"{stem}.{part}_proj" for part in "qkv"]
        qkv = [self.linear(names, normed, f"{stem}/qkv"), "", ""]
        if f"{stem}.q_norm.weight" in self._weights:  # Qwen3's
            qkv = self._normed_heads(stem, qkv[0])
        cache = [f"key.{layer}", f"value.{layer}"]
        inputs = [*qkv, *cache, "last", "total", "cos", "sin"]
        outputs = [f"{stem}/heads", *(f"new_{name}" for name in cache)]
        numbers = {"num_heads": heads, "kv_num_heads": groups, "do_rotary": 1}
        self._node("GroupQueryAttention", inputs, outputs, numbers)
        return self.linear([f"{stem}.o_proj"], outputs[0], f"{stem}/out")

    def mlp(self, stem: str, normed: str) -> str:
        gate, up = (
            self.linear([f"{stem}.mlp.{part}_proj"], normed, f"{stem}/{part}")
            for part in ("gate", "up")
        )
        self._node("Sigmoid", [gate], [f"{stem}/sigmoid"])
        self._node("Mul", [gate, f"{stem}/sigmoid"], [f"{stem}/silu"])
        self._node("Mul", [f"{stem}/silu", up], [f"{stem}/gated"])
        return self.linear([f"{stem}.mlp.down_proj"], f"{stem}/gated", f"{stem}/down")

    def linear(self, names: Sequence[str], x: str, output: str) -> str:
        """The layers of these names as one: x [.., K] -> output [.., sum of their N]."""
        matrix = np.concatenate([self._weights[f"{name}.weight"] for name in names])
        size, width = matrix.shape
        block = next(block for block in _BLOCKS if width % block == 0)
        blocks = matrix.reshape(size, width // block, block)
        scales = np.maximum(np.abs(blocks).max(2), 1e-8) / 127
        stored = (np.rint(blocks / scales[..., None]) + 128).astype(np.uint8)
        inputs = [
            x,
            self._constant(f"{output}/blocks", stored),
            self._constant(f"{output}/scales", scales),
        ]
        if f"{names[0]}.bias" in self._weights:
            bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
            inputs += ["", "", self._constant(f"{output}/bias", bias)]
        numbers = {"K": width, "N": size, "bits": 8, "block_size": block}
        numbers["accuracy_level"] = _INT8_PRODUCTS
        self._node("MatMulNBits", inputs, [output], numbers)
        return output

    def finish(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, self._constants)
        return helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)

    def _normed_heads(self, stem: str, qkv: str) -> list[str]:
        """Queries, keys and values apart, each head of the first two normalised by itself."""
        size = _head_dim(self._config)
        heads, groups = self._config.num_attention_heads, self._config.num_key_value_heads
        widths = np.array([heads * size, groups * size, groups * size], np.int64)
        parts = [f"{stem}/{part}" for part in "qkv"]
        self._node("Split", [qkv, self._constant(f"{stem}/widths", widths)], parts, {"axis": -1})
        for at, part in enumerate("qk"):
            apart, flat = np.array([0, 0, -1, size]), np.array([0, 0, int(widths[at])])
            stem_part = f"{stem}/{part}"
            shapes = [self._constant(f"{stem_part}/{i}", s) for i, s in enumerate((apart, flat))]
            self._node("Reshape", [stem_part, shapes[0]], [f"{stem_part}/apart"])
            normed, _ = self.norm(f"{stem}.{part}_norm", f"{stem_part}/apart", "")
            self._node("Reshape", [normed, shapes[1]], [f"{stem_part}/normed"])
            parts[at] = f"{stem_part}/normed"
        return parts

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        numbers: Mapping[str, Any] | None = None,
    ) -> None:
        domain = "com.microsoft" if op in _RUNTIMES_OWN else ""
        self._nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **(numbers or {})))


def _head_dim(config: Any) -> int:
    size = getattr(config, "head_dim", None)
    return int(size or config.hidden_size // config.num_attention_heads)


def _floats(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
