"""libopus itself, for what PyAV's wrapping of it cannot do: conceal a lost packet, read its FEC.

Hides the foreign calls; nobody else passes a pointer. The library is the one that PyAV's wheel
brings and has loaded, else the system's. Delete when PyAV's decoder takes a missing packet.
"""

import ctypes
import ctypes.util
import functools
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from omni.errors import MediaError, StageError
from omni.types import Samples

MAX_PACKET_MS: Final = 120  # RFC 6716 section 2.1.4
MAX_FRAME_MS: Final = 60
MAX_PAYLOAD_BYTES: Final = 1275  # of one frame
_PLACES: Final = ("../av.libs/libopus-*.so*", ".dylibs/libopus.*.dylib", "../av.libs/libopus*.dll")
# Numbers of opus_defines.h
_VOIP: Final = 2048
_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS_PERC: Final = 4014


class OpusDecoder:
    """One stream's decoder: float32, mono, at any rate that Opus has (8, 12, 16, 24, 48 kHz)."""

    def __init__(self, rate_hz: int) -> None:
        self._opus = load()
        self._max_samples = rate_hz * MAX_PACKET_MS // 1000
        self._step = rate_hz // 400  # concealment comes in multiples of 2.5 ms
        error = ctypes.c_int()
        self._state = self._opus.opus_decoder_create(rate_hz, 1, ctypes.byref(error))
        _check(error.value)
        weakref.finalize(self, self._opus.opus_decoder_destroy, self._state)
        self._sound = np.empty(self._max_samples, np.float32)
        self._address = self._sound.ctypes.data  # to ask for it costs as much as a short frame

    def decode(self, payload: bytes) -> Samples:
        """A packet's sound, float32 [n], n at most 120 ms.

        Raises:
            MediaError: it is no Opus packet. The decoder takes the next one as if nothing was.
        """
        return self._decode(payload, self._max_samples, is_fec=0)

    def conceal(self, num_samples: int, following: bytes | None = None) -> Samples:
        """Sound in the place of lost packets, float32 [n], n to the next lower 2.5 ms, ≤ 120 ms.

        Its last part is told by the packet that follows, if it carries FEC; the rest is guessed.
        """
        num_samples = min(num_samples, self._max_samples) // self._step * self._step
        if not num_samples:
            return np.zeros(0, np.float32)
        if following:
            try:
                return self._decode(following, num_samples, is_fec=1)
            except MediaError:
                pass  # broken as well; its own turn will show
        return self._decode(None, num_samples, is_fec=0)

    def _decode(self, payload: bytes | None, num_samples: int, is_fec: int) -> Samples:
        size = len(payload) if payload else 0
        decoded = self._opus.opus_decode_float(
            self._state, payload, size, self._address, num_samples, is_fec
        )
        return self._sound[: _check(decoded)].copy()


class OpusEncoder:
    """One stream's encoder: float32, mono, for voice, with in-band FEC."""

    def __init__(self, rate_hz: int, bit_rate: int, loss_percent: int, complexity: int) -> None:
        self._opus = load()
        self._payload = ctypes.create_string_buffer(MAX_PAYLOAD_BYTES)
        self._frame = np.zeros(rate_hz * MAX_FRAME_MS // 1000, np.float32)
        self._address = self._frame.ctypes.data
        error = ctypes.c_int()
        self._state = self._opus.opus_encoder_create(rate_hz, 1, _VOIP, ctypes.byref(error))
        _check(error.value)
        weakref.finalize(self, self._opus.opus_encoder_destroy, self._state)
        self._set(_SET_BITRATE, bit_rate)
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_INBAND_FEC, 1)
        self._set(_SET_PACKET_LOSS_PERC, loss_percent)

    def encode(self, sound: Samples) -> bytes:
        """One frame of 2.5 to 60 ms, float32 [n], as a packet."""
        self._frame[: len(sound)] = sound
        size = self._opus.opus_encode_float(
            self._state, self._address, len(sound), self._payload, MAX_PAYLOAD_BYTES
        )
        return ctypes.string_at(self._payload, _check(size))

    def _set(self, what: int, value: int) -> None:
        _check(self._opus.opus_encoder_ctl(self._state, what, ctypes.c_int(value)))


def duration_ticks(payload: bytes) -> int:
    """How long a packet sounds, at 48 kHz, by its header; 0 if it is none."""
    return max(0, int(load().opus_packet_get_nb_samples(payload, len(payload), 48000)))


def has_fec(payload: bytes) -> bool:
    """Whether a packet also tells what was in the one before it."""
    return bool(load().opus_packet_has_lbrr(payload, len(payload)) == 1)


@functools.cache
def load() -> Any:
    """The library.

    Raises:
        StageError: this machine has none.
    """
    for name in _candidates():
        try:
            # A frame takes 50 µs: to let go of the interpreter for that long and queue up for it
            # again costs more than it gives.
            return _declared(ctypes.PyDLL(name))
        except (OSError, AttributeError):
            continue
    raise StageError("there is no libopus: neither in PyAV nor on the system", "no_opus")


def _candidates() -> Iterator[str]:
    home = Path(av.__file__).parent
    for place in _PLACES:
        folder, _, pattern = place.rpartition("/")
        yield from map(str, sorted((home / folder).glob(pattern)))
    if found := ctypes.util.find_library("opus"):
        yield found


def _declared(opus: Any) -> Any:
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    error = ctypes.POINTER(number)
    signatures: dict[str, tuple[Any, ...]] = {
        "opus_decoder_create": (pointer, number, number, error),
        "opus_decoder_destroy": (None, pointer),
        "opus_decode_float": (number, pointer, text, number, pointer, number, number),
        "opus_encoder_create": (pointer, number, number, number, error),
        "opus_encoder_destroy": (None, pointer),
        "opus_encode_float": (number, pointer, pointer, number, text, number),
        "opus_encoder_ctl": (number, pointer, number),  # and a value, whose type varies
        "opus_packet_get_nb_samples": (number, text, number, number),
        "opus_packet_has_lbrr": (number, text, number),
        "opus_strerror": (text, number),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(opus, name)
        function.restype, function.argtypes = result, arguments
    return opus


def _check(code: int) -> int:
    if code < 0:
        raise MediaError(f"Opus: {load().opus_strerror(code).decode()}")
    return code
