"""What a camera costs the machine: stills through the eyes, and a track down to its stills.

Hides how work is told from waiting: CPU seconds of the work alone, on a clock that follows the
film, so that a busy machine changes little.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import av
import numpy as np
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RtpPacket
from numpy.typing import NDArray

from omni.dialog.scene import Look
from omni.media.pictures import PictureLimits
from omni.media.video import stills
from omni.serve.camera import Camera
from omni.serve.media_clock import MediaClock
from omni.stages.see import Budget, Looker, SeeStage
from omni.types import PictureChunk, Pixels

STILLS_HZ: Final = 10.0
TRACK_SIZE: Final = (640, 480)
TRACK_HZ: Final = 25
_VP8: Final = 97
_NEGOTIATED: Final = f"a=rtpmap:{_VP8} VP8/90000"


@dataclass(frozen=True, slots=True, eq=False)
class StillsCost:
    """Of pictures that are shown to the see stage. `look_ms` is CPU time of each look, decoding
    included."""

    offered: int
    looked_at: int
    cpu_per_s: float
    look_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrackCost:
    """Of a VP8 track: CPU seconds a second of it, with what every frame's decoding would take."""

    frames: int
    decoded: int
    shown: int
    cpu_per_s: float
    decode_all_cpu_per_s: float


class _Counting:
    """A looker that keeps the CPU time of its looks."""

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        self.looks_ms: list[float] = []

    def look(self, picture: Pixels, captured_ms: int) -> Look:
        return self._timed(self._looker.look, picture, captured_ms)

    def look_closely(self, picture: Pixels, captured_ms: int) -> Look:
        return self._timed(self._looker.look_closely, picture, captured_ms)

    def _timed(self, look: Callable[[Pixels, int], Look], picture: Pixels, at_ms: int) -> Look:
        began_s = time.process_time()
        seen = look(picture, at_ms)
        self.looks_ms.append((time.process_time() - began_s) * 1000)
        return seen


def moving(film: Path) -> list[tuple[int, bytes]]:
    """A film's pictures as a camera client shows them, with their times in ms."""
    return list(stills(film, STILLS_HZ))


def still(film: Path) -> list[tuple[int, bytes]]:
    """The film's first picture for as long as the film."""
    shown = moving(film)
    return [(at_ms, shown[0][1]) for at_ms, _ in shown]


def cost_of_stills(
    shown: Sequence[tuple[int, bytes]], looker: Looker, cpu_share: float
) -> StillsCost:
    """Show pictures to the eyes within their share of a core."""
    now_s = 0.0
    counting = _Counting(looker)
    budget = Budget(cpu_share, lambda: now_s, time.process_time)
    stage = SeeStage(lambda: counting, PictureLimits(), budget)
    stage.load()
    stage.open("bench")
    began_s = time.process_time()
    for index, (at_ms, encoded) in enumerate(shown):
        now_s = 1 + at_ms / 1000
        stage.step([PictureChunk("bench", 0, 0, f"pic{index}", encoded, at_ms, is_asked=False)])
    spent_s = time.process_time() - began_s
    seconds = shown[-1][0] / 1000
    looks_ms = tuple(round(ms, 1) for ms in counting.looks_ms)
    return StillsCost(len(shown), len(looks_ms), round(spent_s / seconds, 3), looks_ms)


async def cost_of_track(film: Path, max_frames: int = 10 * TRACK_HZ) -> TrackCost:
    """Send a film as a browser would: a key frame where one is asked for."""
    keys, others, whole = _encoded(islice(_frames(film), max_frames))
    now_ms, shown = 0.0, 0

    def show(still: bytes, captured_ms: int) -> None:
        nonlocal shown
        shown += 1

    camera = Camera(show, MediaClock(), lambda: now_ms)
    camera.expect(_NEGOTIATED)
    number = decoded = 0
    is_asked = True
    began_s = time.process_time()
    for index in range(len(keys)):
        now_ms = index * 1000 / TRACK_HZ
        payloads, is_asked = (keys if is_asked else others)[index], False
        for place, payload in enumerate(payloads):
            number = (number + 1) & 0xFFFF
            marker = int(place == len(payloads) - 1)
            packet = RtpPacket(_VP8, marker, number, index * 90_000 // TRACK_HZ, 1, payload)
            is_asked |= camera.push(packet)
        working = [task for task in asyncio.all_tasks() if task.get_name() == "camera"]
        decoded += len(working)
        await asyncio.gather(*working)
    seconds = len(keys) / TRACK_HZ
    spent_s = time.process_time() - began_s
    return TrackCost(
        len(keys),
        decoded,
        shown,
        round(spent_s / seconds, 4),
        round(_decode_all(whole) / seconds, 4),
    )


def _frames(film: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(film)) as media:
        for frame in media.decode(video=0):
            yield (
                frame.reformat(*TRACK_SIZE, format="rgb24")
                .to_ndarray()
                .astype(np.uint8, copy=False)
            )


def _encoded(
    pictures: Iterator[NDArray[np.uint8]],
) -> tuple[list[list[bytes]], list[list[bytes]], list[bytes]]:
    """Each picture's packets as a key frame and as another frame, and the latter as whole frames
    that follow one another."""
    as_key, as_other, whole = Vp8Encoder(), Vp8Encoder(), []
    keys, others = [], []
    plain = av.CodecContext.create("libvpx", "w")
    plain.width, plain.height = TRACK_SIZE
    plain.pix_fmt, plain.time_base = "yuv420p", Fraction(1, TRACK_HZ)
    plain.bit_rate, plain.options = 1_000_000, {"deadline": "realtime", "cpu-used": "8"}
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = index * 90_000 // TRACK_HZ, Fraction(1, 90_000)
        keys.append(as_key.encode(frame, force_keyframe=True)[0])
        others.append(as_other.encode(frame, force_keyframe=False)[0])
        flat = frame.reformat(format="yuv420p")
        flat.pts, flat.time_base = index, Fraction(1, TRACK_HZ)
        whole += [bytes(packet) for packet in plain.encode(flat)]
    return keys, others, whole


def _decode_all(whole: Sequence[bytes]) -> float:
    """CPU seconds of a plain decoder for all frames: the codec's floor."""
    decoder = av.CodecContext.create("vp8", "r")
    decoder.thread_count = 1
    began_s = time.process_time()
    for data in whole:
        decoder.decode(av.Packet(data))
    return time.process_time() - began_s
