"""EfficientNet-lite0: which of ImageNet's 1000 kinds of thing a picture mostly shows.

Hides the network, written as ONNX from its published PyTorch weights, and the plain names of the
kinds. Its guesses are hints: of thirteen test photos it named four rightly and three nearly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omni.models.embedded.onnx_graph import GraphWriter
from omni.models.embedded.torch_file import Tensor, read_state_dict
from omni.models.onnx_session import open_session

SIDE: Final = 224
_RESIZED: Final = 256
_NUM_BLOCKS: Final = 16
_STRIDED_BLOCKS: Final = (1, 3, 5, 11)
_NORM_EPS: Final = 1e-3

# Where ImageNet knows more species than a talk needs: runs of classes with a plain name.
KINDS: Final = (
    (0, 6, "fish"), (7, 24, "bird"), (25, 29, "salamander"), (30, 32, "frog"), (33, 37, "turtle"),
    (38, 48, "lizard"), (52, 68, "snake"), (72, 77, "spider"), (80, 100, "bird"),
    (127, 146, "bird"), (151, 268, "dog"), (281, 285, "cat"), (300, 307, "beetle"),
    (321, 326, "butterfly"), (330, 332, "rabbit"), (365, 382, "monkey"), (389, 397, "fish"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """What a picture may mostly show: `kind` is the everyday word, with its probability, and
    `label` the likeliest class of it."""

    label: str
    kind: str
    probability: float


class Classifier:
    """Args:
    weights: the PyTorch file.
    synsets: the WordNet id of each class, a line each.
    lemmas: the names of each WordNet id, tab-separated.
    """

    def __init__(self, weights: Path, synsets: Path, lemmas: Path, num_threads: int) -> None:
        self._session = open_session(_as_onnx(read_state_dict(weights)), num_threads)
        names = dict(line.split("\t", 1) for line in lemmas.read_text().splitlines())
        self._labels = [names[synset].split(",")[0] for synset in synsets.read_text().split()]
        everyday = list(self._labels)
        for first, last, name in KINDS:
            everyday[first : last + 1] = [name] * (last + 1 - first)
        self._kinds = sorted(set(everyday))
        self._kind_of = np.array([self._kinds.index(name) for name in everyday])  # [1000]

    def classify(self, picture: NDArray[np.uint8]) -> Guess:
        """The likeliest kind of an RGB picture [H, W, 3]; its sides' middle is what counts."""
        pixels = (_centre(picture).astype(np.float32) - 127) / 128
        (scores,) = self._session.run(None, {"image": pixels.transpose(2, 0, 1)[None]})
        odds = np.exp(scores.reshape(-1) - scores.max())
        odds /= odds.sum()
        by_kind = np.bincount(self._kind_of, odds)
        kind = int(by_kind.argmax())
        label = self._labels[int(np.where(self._kind_of == kind, odds, 0).argmax())]
        return Guess(label, self._kinds[kind], float(by_kind[kind]))


def _centre(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    scale = _RESIZED / min(image.size)
    width, height = (max(SIDE, round(side * scale)) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def _as_onnx(state: dict[str, Tensor]) -> bytes:
    """Names and layout: efficientnet_lite_pytorch; batch norms are folded into the kernels."""
    graph = GraphWriter("image")

    def conv(name: str, norm: str, source: str, stride: int = 1) -> str:
        kernel = state[f"{name}.weight"]
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + _NORM_EPS)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        inputs = [
            source,
            graph.weight(f"{name}.weight", kernel * scale[:, None, None, None]),
            graph.weight(f"{name}.bias", bias),
        ]
        groups = kernel.shape[0] if "depthwise" in name else 1
        return graph.conv(inputs, name, stride, groups)

    def active(name: str) -> str:
        return graph.relu6(name, f"{name}.relu6")

    x = active(conv("_conv_stem", "_bn0", "image", stride=2))
    for index in range(_NUM_BLOCKS):
        block = f"_blocks.{index}"
        inside = x
        if index:  # the first block does not expand
            inside = active(conv(f"{block}._expand_conv", f"{block}._bn0", inside))
        stride = 2 if index in _STRIDED_BLOCKS else 1
        inside = active(conv(f"{block}._depthwise_conv", f"{block}._bn1", inside, stride))
        inside = conv(f"{block}._project_conv", f"{block}._bn2", inside)
        outer, inner = (state[f"{block}.{n}.weight"] for n in ("_project_conv", "_depthwise_conv"))
        expanded_from = state.get(f"{block}._expand_conv.weight", inner).shape[1]
        is_residual = stride == 1 and index and outer.shape[0] == expanded_from
        x = graph.node("Add", [inside, x], f"{block}.sum") if is_residual else inside
    x = active(conv("_conv_head", "_bn1", x))
    x = graph.node("GlobalAveragePool", [x], "pooled")
    head = graph.weight("_fc.weight", state["_fc.weight"][:, :, None, None])
    scores = graph.conv([x, head, graph.weight("_fc.bias", state["_fc.bias"])], "scores", 1)
    return graph.finish([scores], "efficientnet-lite0")
