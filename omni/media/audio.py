"""Sound at the edges: bytes of the wire to float samples and back, sample rates, fixed frames.

Hides sample formats, companding and the resampler's delay. Law: whatever the chunking, the samples
that come out (`flush` included) are those of one call. Samples are float32, mono, 1.0 full scale.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from omni.errors import MediaError

Samples = NDArray[np.float32]
Encoding = Literal["pcm16", "ulaw", "alaw"]

_FULL_SCALE = 32768


def to_float(pcm: NDArray[np.int16]) -> Samples:
    """int16 [n] to float32 [n] in [-1, 1)."""
    return pcm.astype(np.float32) / np.float32(_FULL_SCALE)


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """float32 [n] to int16 [n]; clips what is beyond full scale, and NaN is silence."""
    scaled: Samples = np.clip(np.nan_to_num(samples), -1, 1) * np.float32(_FULL_SCALE)
    return np.minimum(np.rint(scaled), np.float32(_FULL_SCALE - 1)).astype(np.int16)


def decode(data: bytes, encoding: Encoding, param: str = "audio") -> Samples:
    """Wire bytes (pcm16 is little endian) to float32 [n].

    Raises:
        MediaError: half a sample at the end; `param` is the field it came in.
    """
    if encoding != "pcm16":
        return to_float(_LEVELS[encoding][np.frombuffer(data, np.uint8)])
    if len(data) % 2:
        raise MediaError(
            f"{param}: 16-bit PCM has an even number of bytes, not {len(data)}", param=param
        )
    return to_float(np.frombuffer(data, "<i2"))


def encode(samples: Samples, encoding: Encoding) -> bytes:
    """float32 [n] to wire bytes; G.711 takes the nearest level it has."""
    pcm = to_int16(samples)
    if encoding == "pcm16":
        return pcm.astype("<i2").tobytes()
    levels = _LEVELS[encoding]
    order = np.argsort(levels, kind="stable")
    boundaries = (levels[order][1:].astype(np.float32) + levels[order][:-1]) / 2
    return order[np.searchsorted(boundaries, pcm, side="right")].astype(np.uint8).tobytes()


def from_base64(text: str, param: str = "audio") -> bytes:
    """Raises: MediaError: not standard base64; `param` is the field it came in."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError(f"{param}: not base64 ({error})", param=param) from error


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _ulaw_levels() -> NDArray[np.int16]:
    """Level of each μ-law code (ITU-T G.711, table 2), [256]."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_levels() -> NDArray[np.int16]:
    """Level of each A-law code (ITU-T G.711, table 1), [256]."""
    code = np.arange(256) ^ 0x55
    segment = code >> 4 & 7
    step = ((code & 15) << 4) + 8
    magnitude = np.where(segment > 0, step + 256 << np.maximum(segment - 1, 0), step)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_LEVELS = {"ulaw": _ulaw_levels(), "alaw": _alaw_levels()}


class Resampler:
    """One stream from one rate to another, by FFmpeg's polyphase filter: 16 taps to either side
    hold back a millisecond or two until `flush`, where sharper ones would hold back 25 ms.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self._rates_hz = (source_hz, target_hz)
        self._stream = self._open()

    def push(self, samples: Samples) -> Samples:
        """[n] at the source rate to whatever is ready at the target rate, [m] with m >= 0."""
        if self._stream is None or not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = self._rates_hz[0]
        return _joined(self._stream.resample(frame))

    def flush(self) -> Samples:
        """The rest of the stream; the next `push` starts a new one."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest = _joined(self._stream.resample(None))
        self._stream = self._open()
        return rest

    def _open(self) -> av.AudioResampler | None:
        source_hz, target_hz = self._rates_hz
        if source_hz == target_hz:
            return None
        return av.AudioResampler(format="flt", layout="mono", rate=target_hz)


def _joined(frames: Iterable[av.AudioFrame]) -> Samples:
    parts = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def resample(samples: Samples, source_hz: int, target_hz: int) -> Samples:
    """A whole recording at once, float32 [n] to [n * target_hz / source_hz]."""
    stream = Resampler(source_hz, target_hz)
    return np.concatenate([stream.push(samples), stream.flush()])


class Framer:
    """Cuts a stream into frames of equal length; no sample is lost or repeated."""

    def __init__(self, frame_samples: int) -> None:
        self._frame_samples = frame_samples
        self._rest = np.zeros(0, np.float32)

    @property
    def num_waiting(self) -> int:
        """Samples of a frame that is not complete."""
        return len(self._rest)

    def push(self, samples: Samples) -> Samples:
        """[n] to the frames now complete, [num_frames, frame_samples]."""
        pending = np.concatenate([self._rest, samples])
        whole = len(pending) - len(pending) % self._frame_samples
        self._rest = pending[whole:]
        return pending[:whole].reshape(-1, self._frame_samples)

    def flush(self) -> Samples:
        """What is left of the stream, [n] with n < frame_samples; starts anew."""
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        return rest
