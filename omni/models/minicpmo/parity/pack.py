"""A golden pack: what the released code computed, and how far we may be from it.

Hides the file format (sub-sampled names, run-length coded sound). Law: an array of a pack is
compared, or is an input; one that is neither is a failure.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omni.errors import AssetError

STATES = 1e-4  # embeddings and hidden states
LOGITS = 5e-4  # logits and caches
PITCH = 5e-3  # Hz
WAVE = 2e-2  # vocoder samples
EXACT = 0.0
_ABSENT = "absent; what needs it was not checked"
_STRIDED = re.compile(r"(.+)@(\d+)::(\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One compared array or list of values; `detail` says what differs."""

    name: str
    error: float
    tolerance: float
    detail: str = ""

    @property
    def is_good(self) -> bool:
        return self.error <= self.tolerance  # false for NaN


class Absent(Exception):
    """A pack lacks an input."""


@dataclass(slots=True, eq=False)
class Item:
    """One golden file: what it holds, and what has come of comparing it."""

    name: str
    json: Any
    arrays: dict[str, NDArray[Any]]
    rows: list[Row] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    def stored(self, key: str) -> str | None:
        """The name under which an array is stored, sub-sampled or not; None if it is absent."""
        if key in self.arrays:
            return key
        names = (name for name in self.arrays if _STRIDED.fullmatch(name))
        return next((name for name in names if name.startswith(key + "@")), None)

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a check that is left out, and said so, where the pack lacks its input."""
        try:
            yield
        except Absent as absent:
            self.rows.append(Row(str(absent), 0, EXACT, _ABSENT))

    @property
    def is_partial(self) -> bool:
        return any(row.detail == _ABSENT for row in self.rows)

    @property
    def keys(self) -> list[str]:
        """What there is, without how it is sub-sampled."""
        return [name.partition("@")[0] for name in self.arrays]

    def input(self, key: str) -> Tensor:
        """An array given to us rather than asked of us."""
        if key not in self.arrays:
            raise Absent(key)
        self.touched.add(key)
        return torch.from_numpy(self.arrays[key])

    def array(self, key: str, actual: Tensor, tolerance: float) -> None:
        """Compare a whole result with an array of the file, if it is there."""
        name = self.stored(key)
        if name is None:
            return
        self.touched.add(name)
        expected, actual = torch.from_numpy(self.arrays[name]), _strided(name, actual)
        if actual.shape != expected.shape:
            detail = f"{list(actual.shape)} instead of {list(expected.shape)}"
            self.rows.append(Row(name, float("inf"), tolerance, detail))
        else:
            self.rows.append(Row(name, _largest_difference(actual, expected), tolerance))

    def differs(self, key: str, actual: Tensor, at_least: float) -> None:
        """An array that a known fault gives must not be ours."""
        name = self.stored(key)
        if name is None:
            return
        self.touched.add(name)
        distance = _largest_difference(_strided(name, actual), torch.from_numpy(self.arrays[name]))
        self.rows.append(Row(f"{name} (must differ)", float(distance < at_least), EXACT))

    def same(self, key: str, actual: Any, expected: Any) -> None:
        """Compare discrete values exactly; the error is how many differ."""
        if actual == expected:
            self.rows.append(Row(key, 0, EXACT))
        else:
            self.rows.append(
                Row(key, _num_different(actual, expected), EXACT, _shown(actual, expected))
            )

    def fields(self, key: str, expected: dict[str, Any], actual: dict[str, Any]) -> None:
        """Compare those of our values that the pack has."""
        for name, value in actual.items():
            if name in expected:
                self.same(f"{key}.{name}", value, expected[name])

    def top(self, key: str, logits: Tensor, count: int) -> None:
        """Compare the largest of each row by value: the ids of equal ones may change places."""
        logits = logits.cpu()
        largest = logits.topk(count).values  # [rows, count]
        self.array(key, largest, LOGITS)
        name = self.stored(f"{key}_ids")
        if name is None:
            return
        self.touched.add(name)
        ids = torch.from_numpy(self.arrays[name]).long()
        rows = _strided(name, logits) if "@0" in name else logits
        error = _largest_difference(rows.gather(-1, ids), _strided(name, largest))
        self.rows.append(Row(name, error, LOGITS))

    def unseen(self) -> list[str]:
        """Arrays that nothing was compared with."""
        return sorted(self.arrays.keys() - self.touched)


class Pack:
    """A folder with a checkpoint, inputs and `golden/`.

    Raises:
        AssetError: no such folder, or nothing golden in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = sorted({path.stem for path in (folder / "golden").glob("*.*")})
        if not self.names:
            raise AssetError(f"{folder} holds no golden files", param=str(folder))

    def item(self, name: str) -> Item:
        tree = self.folder / "golden" / f"{name}.json"
        arrays = self.folder / "golden" / f"{name}.npz"
        return Item(
            name,
            json.loads(tree.read_text()) if tree.is_file() else None,
            dict(np.load(arrays, allow_pickle=False)) if arrays.is_file() else {},
        )

    @cached_property
    def inputs(self) -> dict[str, NDArray[Any]]:
        return dict(np.load(self.folder / "inputs" / "inputs.npz", allow_pickle=False))

    def sound(self, key: str) -> Tensor:
        """An input sound as float samples. [n]"""
        return torch.from_numpy(self.inputs[key]).float() / 32768

    def stream(self, span: Sequence[int]) -> Tensor:
        """Samples [start, end) of the long recording."""
        return self.sound("audio_stream")[span[0] : span[1]]


def _strided(name: str, whole: Tensor) -> Tensor:
    """A result sub-sampled as the array of this name is."""
    match = _STRIDED.fullmatch(name)
    if match is None:
        return whole
    axis, step = int(match[2]), int(match[3])
    return whole[(slice(None),) * axis + (slice(None, None, step),)]


def _largest_difference(actual: Tensor, expected: Tensor) -> float:
    difference = (actual.cpu().double() - expected.double()).abs()
    return float(difference.max()) if difference.numel() else 0.0


def run_lengths(samples: Tensor) -> list[list[int]]:
    """A waveform as [[value, count], ...], values times 32768."""
    values, counts = torch.unique_consecutive((samples * 32768).round().long(), return_counts=True)
    return [list(pair) for pair in zip(values.tolist(), counts.tolist(), strict=True)]


def _num_different(actual: Any, expected: Any) -> float:
    if not (isinstance(actual, list) and isinstance(expected, list)):
        return 1
    pairs = zip(actual, expected, strict=False)
    return sum(bool(a != b) for a, b in pairs) + abs(len(actual) - len(expected))


def _shown(actual: Any, expected: Any) -> str:
    if isinstance(actual, list) and isinstance(expected, list):
        for at, (a, b) in enumerate(zip(actual, expected, strict=False)):
            if a != b:
                return f"[{at}] {str(a)[:80]} instead of {str(b)[:80]}"
        return f"{len(actual)} values instead of {len(expected)}"
    return f"{str(actual)[:100]} instead of {str(expected)[:100]}"
