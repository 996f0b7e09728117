"""The figures of a call through bad weather, from what was said and what was heard alone."""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from omni.evaluation.network_call import Hearing, Speech
from omni.serve.opus import HEARD_HZ
from omni.types import Samples

WINDOW_S: Final = 0.6
REACH_S: Final = 0.4  # how far from one window to the next the timeline may have moved
LIKENESS: Final = 0.35  # of a window with what was said, to be taken for it
NORMAL_MS: Final = 40.0  # delay more than this above the median is not normal
MARGIN_S: Final = 0.25
_WORD: Final = re.compile(r"[a-z']+")


def figures(speech: Speech, hearing: Hearing) -> dict[str, Any]:
    """Everything but words."""
    shifts = _shifts_ms(speech, hearing.samples)
    times_s = np.array([at_s for at_s, _ in hearing.pieces])
    told_s = np.cumsum([len(samples) for _, samples in hearing.pieces]) / HEARD_HZ
    is_call = told_s <= len(speech.samples) / HEARD_HZ  # then nobody speaks any more
    times_s, told_s = times_s[is_call], told_s[is_call]
    delays_ms = (times_s - told_s) * 1000
    delays_ms -= delays_ms.min()
    return {
        "lost_%": round(hearing.lost_share * 100, 1),
        # How far any part of the speech lies from where its beginning says it should.
        "timeline_error_ms": round(max(abs(s - shifts[0]) for s in shifts)) if shifts else None,
        "heard_share": round(len(shifts) / max(1, len(_windows(speech))), 3),
        # From when a sample could have been told at best until it was.
        "delay_p50_ms": round(float(np.percentile(delays_ms, 50))),
        "delay_p95_ms": round(float(np.percentile(delays_ms, 95))),
        "back_to_normal_ms": round(_longest_above(times_s, delays_ms)),
        "longest_gap_ms": round(float(np.diff(times_s).max()) * 1000),
    }


def word_errors(
    speech: Speech, hearing: Hearing, transcribe: Callable[[Samples], str]
) -> tuple[int, int]:
    """(errors, words said), sentence by sentence: each is looked for where it was said."""
    shift_s = next(iter(_shifts_ms(speech, hearing.samples)), 0.0) / 1000
    errors = words = 0
    for text, start_s, end_s in speech.texts:
        first = max(0, int((start_s + shift_s - MARGIN_S) * HEARD_HZ))
        last = int((end_s + shift_s + MARGIN_S) * HEARD_HZ)
        wanted = _WORD.findall(text.lower())
        errors += distance(wanted, _WORD.findall(transcribe(hearing.samples[first:last]).lower()))
        words += len(wanted)
    return errors, words


def distance(wanted: list[str], found: list[str]) -> int:
    """Levenshtein's, in words."""
    row = list(range(len(found) + 1))
    for at, word in enumerate(wanted, 1):
        before, row[0] = row[0], at
        for column, other in enumerate(found, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, before + (word != other))
            before, row[column] = row[column], cost
    return row[-1]


def _windows(speech: Speech) -> list[int]:
    """First samples of the stretches of speech that are looked for."""
    step = int(WINDOW_S * HEARD_HZ)
    return [
        first
        for _, start_s, end_s in speech.texts
        for first in range(int(start_s * HEARD_HZ), int(end_s * HEARD_HZ) - step, step)
    ]


def _shifts_ms(speech: Speech, heard: Samples) -> list[float]:
    """How much later than said each window is found in what was heard, in ms of its samples."""
    size, reach = int(WINDOW_S * HEARD_HZ), int(REACH_S * HEARD_HZ)
    shifts: list[float] = []
    shift = 0
    for first in _windows(speech):
        said = speech.samples[first : first + size]
        begin = max(0, first + shift - reach)
        around = heard[begin : first + shift + size + reach]
        if len(around) < size:
            continue
        at, likeness = _found(said, around)
        if likeness >= LIKENESS:
            shift = begin + at - first
            shifts.append(shift * 1000 / HEARD_HZ)
    return shifts


def _found(said: Samples, around: Samples) -> tuple[int, float]:
    """Where a sound is most like another, and how much (−1 to 1)."""
    size = 1 << (len(around) + len(said) - 1).bit_length()
    product = np.fft.rfft(around, size) * np.conj(np.fft.rfft(said, size))
    matches = np.fft.irfft(product, size)[: len(around) - len(said) + 1]
    power = np.concatenate([[0.0], np.cumsum(around.astype(np.float64) ** 2)])
    energies = power[len(said) :] - power[: -len(said)]
    likeness = matches / np.sqrt(np.maximum(energies, 1e-9) * max(float(said @ said), 1e-9))
    at = int(likeness.argmax())
    return at, float(likeness[at])


def _longest_above(times_s: Any, delays_ms: Any) -> float:
    """The longest time in ms for which delay was not normal, after a loss or a stall."""
    normal_ms = float(np.median(delays_ms)) + NORMAL_MS
    longest_ms, since_s = 0.0, None
    for at_s, delay_ms in zip(times_s, delays_ms, strict=True):
        if delay_ms <= normal_ms:
            since_s = None
            continue
        since_s = at_s if since_s is None else since_s
        longest_ms = max(longest_ms, (at_s - since_s) * 1000)
    return longest_ms
