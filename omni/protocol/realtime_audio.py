"""Sound as the Realtime protocol carries it, to and from the rates that the stages use.

Hides formats and resampling; both directions keep their state from chunk to chunk.
"""

from typing import Final

from omni.media.audio import (
    Encoding,
    Resampler,
    Samples,
    decode,
    encode,
    from_base64,
    to_base64,
)
from omni.protocol.realtime_config import AudioFormat

HEARD_HZ: Final = 16000
SPOKEN_HZ: Final = 24000
G711_HZ: Final = 8000
ENCODINGS: Final[dict[str, Encoding]] = {
    "audio/pcm": "pcm16",
    "audio/pcmu": "ulaw",
    "audio/pcma": "alaw",
}


def rate_hz(wire: AudioFormat) -> int:
    return (wire.rate or SPOKEN_HZ) if wire.type == "audio/pcm" else G711_HZ


class InputAudio:
    """The user's sound from one format to float32 at 16 kHz."""

    def __init__(self, wire: AudioFormat) -> None:
        self._encoding = ENCODINGS[wire.type]
        self._resampler = Resampler(rate_hz(wire), HEARD_HZ)

    def push(self, audio: str) -> Samples:
        """Base64 to samples [n]. Raises: MediaError: not base64, or half a sample."""
        return self._resampler.push(decode(from_base64(audio), self._encoding))

    def flush(self) -> Samples:
        """What the resampler still holds; the next chunk starts a new stream."""
        return self._resampler.flush()


class OutputAudio:
    """One reply's sound from float32 at 24 kHz to one format."""

    def __init__(self, wire: AudioFormat) -> None:
        self._encoding = ENCODINGS[wire.type]
        self._resampler = Resampler(SPOKEN_HZ, rate_hz(wire))

    def push(self, samples: Samples) -> str:
        """Samples [n] to base64; may be empty."""
        return to_base64(encode(self._resampler.push(samples), self._encoding))

    def flush(self) -> str:
        return to_base64(encode(self._resampler.flush(), self._encoding))
