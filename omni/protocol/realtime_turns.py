"""Turn detection between the Realtime protocol's terms and ours.

Law: what is out of range is clamped, what is absent is the profile's own.
"""

from dataclasses import replace
from typing import Final, TypeVar

from omni.dialog.options import TurnDetection
from omni.protocol.realtime_config import Eagerness, TurnDetectionWire

Number = TypeVar("Number", int, float)

EAGERNESS_MS: Final = {"low": (800, 8000), "medium": (480, 4000), "high": (320, 2000)}
"""The silence that ends a turn, and one that sounds unfinished; `auto` is the profile's own."""
IDLE_MS: Final = (5000, 30_000)


def clamped(value: Number | None, low: Number, high: Number, default: Number) -> Number:
    return default if value is None else max(low, min(value, high))


def from_wire(
    wanted: TurnDetectionWire, default: TurnDetection
) -> tuple[TurnDetection, Eagerness | None]:
    """What is in effect, and how eager semantic VAD is; None under server VAD."""
    detection = replace(
        default,
        creates_response=wanted.create_response is not False,
        interrupts_response=wanted.interrupt_response is not False,
    )
    if wanted.type == "semantic_vad":
        eagerness = wanted.eagerness or "auto"
        own = (default.silence_duration_ms, default.max_silence_ms)
        silence_ms, patience_ms = EAGERNESS_MS.get(eagerness, own)
        detection = replace(detection, silence_duration_ms=silence_ms, max_silence_ms=patience_ms)
        return detection, eagerness
    silence_ms = clamped(wanted.silence_duration_ms, 100, 10_000, default.silence_duration_ms)
    idle_ms = wanted.idle_timeout_ms
    detection = replace(
        detection,
        threshold=clamped(wanted.threshold, 0.05, 0.95, default.threshold),
        prefix_padding_ms=clamped(wanted.prefix_padding_ms, 0, 5000, default.prefix_padding_ms),
        silence_duration_ms=silence_ms,
        max_silence_ms=silence_ms,  # the client asked for silence alone to decide
        idle_timeout_ms=None if idle_ms is None else clamped(idle_ms, *IDLE_MS, 0),
    )
    return detection, None


def to_wire(detection: TurnDetection, eagerness: Eagerness | None) -> TurnDetectionWire:
    """The detection in effect, as session.updated tells it."""
    if eagerness:
        return TurnDetectionWire(
            type="semantic_vad",
            eagerness=eagerness,
            create_response=detection.creates_response,
            interrupt_response=detection.interrupts_response,
        )
    return TurnDetectionWire(
        type="server_vad",
        threshold=detection.threshold,
        prefix_padding_ms=detection.prefix_padding_ms,
        silence_duration_ms=detection.silence_duration_ms,
        idle_timeout_ms=detection.idle_timeout_ms,
        create_response=detection.creates_response,
        interrupt_response=detection.interrupts_response,
    )
