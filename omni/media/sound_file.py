"""Recordings as files: any common container to samples, and samples to one, piece by piece.

Hides FFmpeg. Law: a file is data alone; what it refers to elsewhere is never opened.
"""

import struct
from fractions import Fraction
from typing import IO, Any, Final, Literal

import av
import numpy as np

from omni.errors import MediaError
from omni.media.audio import Samples, encode

FileFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
MEDIA_TYPES: Final[dict[FileFormat, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# Playlists and the like are not among them: they would have other files read, or addresses fetched.
_READABLE: Final = (
    "wav,w64,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac,aiff,au,caf,amr,mpeg,mpegts"
)
_UNKNOWN_BYTES: Final = 0xFFFFFFFF  # of a stream whose end is not known yet
_MUXERS: Final = {
    "mp3": ("mp3", "libmp3lame", {}),
    "opus": ("ogg", "libopus", {"page_duration": "100000"}),
    "aac": ("adts", "aac", {}),
    "flac": ("flac", "flac", {}),
}


def read_sound(file: IO[bytes], rate_hz: int, max_s: float) -> Samples:
    """The first audio track of a file, float32 [n] at `rate_hz`.

    Raises:
        MediaError: no sound that can be read (`invalid_media`), or more than `max_s` of it.
    """
    pieces: list[Samples] = []
    num_samples = 0
    try:
        with av.open(file, "r", options={"format_whitelist": _READABLE}) as container:
            if not container.streams.audio:
                raise MediaError("The file has no sound in it.", param="file")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
            for frame in _frames(container):
                for resampled in resampler.resample(frame):
                    pieces.append(resampled.to_ndarray()[0])
                    num_samples += len(pieces[-1])
                if num_samples > max_s * rate_hz:
                    raise MediaError(f"The recording is longer than {max_s:g} s.", param="file")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError("The file is no recording that can be read.", param="file") from error
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _frames(container: Any) -> Any:
    """The frames of the first audio track, and None to flush what decodes them."""
    yield from container.decode(audio=0)
    yield None


class SoundWriter:
    """A sound file as a stream of bytes, for samples at `rate_hz`."""

    def __init__(self, file_format: FileFormat, rate_hz: int) -> None:
        self._format = file_format
        self._rate_hz = rate_hz
        self._sink = _Sink()
        self._num_samples = 0
        if file_format in _MUXERS:
            muxer, codec, options = _MUXERS[file_format]
            self._container = av.open(self._sink, "w", format=muxer, options=options)
            self._stream: Any = self._container.add_stream(codec, rate=rate_hz, layout="mono")
        elif file_format == "wav":
            self._sink.write(_wav_header(rate_hz))

    def push(self, samples: Samples) -> bytes:
        """float32 [n] in, whatever bytes are ready out."""
        if self._format not in _MUXERS:
            self._sink.write(encode(samples, "pcm16"))
            return self._sink.drain()
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = self._rate_hz, self._num_samples
            frame.time_base = Fraction(1, self._rate_hz)
            self._num_samples += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._sink.drain()

    def finish(self) -> bytes:
        """The rest of the file."""
        if self._format in _MUXERS:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._sink.drain()


class _Sink:
    """Where a muxer writes; it cannot go back."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def drain(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _wav_header(rate_hz: int) -> bytes:
    """RIFF header of 16-bit mono PCM whose length is not known."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", _UNKNOWN_BYTES, b"WAVE")
    return head + fmt + struct.pack("<4sI", b"data", _UNKNOWN_BYTES)
