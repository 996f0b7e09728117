"""Work whose shapes recur, recorded and replayed: one launch for a step of the flow, not hundreds.

Hides which shapes recur: a stream's caches grow until they are full, so a shape is recorded when
it has come often enough, and the one that is longest unused is forgotten. Law: what comes out is
what the work alone would give, and the caller's to keep.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from omni.models.decode_graphs import Recorder

MAX_RECORDED: Final = 8  # each keeps its inputs and outputs on the device
MAX_COUNTED: Final = 1000
Work = Callable[..., tuple[Tensor, ...]]


class ShapeGraphs:
    """Called as the work is.

    Args:
        work: tensors in, tensors out; nothing in it may depend on the values of a tensor.
        record: `cuda_graph`.
        after: calls of one shape before it is worth recording.
    """

    def __init__(self, work: Work, record: Recorder, after: int) -> None:
        self._work = work
        self._record = record
        self._after = after
        self._has_failed = False
        self._num_seen: Counter[Any] = Counter()
        self._recorded: OrderedDict[Any, tuple[tuple[Tensor, ...], Any]] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shape = tuple((x.shape, x.dtype) for x in inputs)
        if shape not in self._recorded and not self._keep(shape, inputs):
            return self._work(*inputs)
        self._recorded.move_to_end(shape)
        held, replay = self._recorded[shape]
        for place, given in zip(held, inputs, strict=True):
            place.copy_(given)
        return tuple(output.clone() for output in replay())

    def _keep(self, shape: Any, inputs: tuple[Tensor, ...]) -> bool:
        """Record the work for this shape; false if it is not worth it yet, or cannot be."""
        if len(self._num_seen) > MAX_COUNTED:
            self._num_seen.clear()
        self._num_seen[shape] += 1
        if self._has_failed or self._num_seen[shape] <= self._after:
            return False
        if len(self._recorded) == MAX_RECORDED:
            self._recorded.popitem(last=False)
        held = tuple(x.clone() for x in inputs)
        try:
            self._recorded[shape] = held, self._record(lambda: self._work(*held))
        except RuntimeError:
            logging.getLogger(__name__).warning("flow steps are not recorded", exc_info=True)
            self._has_failed = True
        return not self._has_failed
