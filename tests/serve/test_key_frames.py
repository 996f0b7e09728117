"""Key frames from packets: nothing is lost, mixed up, or decoded that should not be."""

import random
from typing import get_args

import av
import numpy as np
import psutil
import pytest
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omni.serve.key_frames import Codec, KeyFrame, KeyFrames, codecs_in
from tests.pictures import photo
from tests.serve.packets import CODECS, NEGOTIATED, TYPES, Sender, damaged

CAT, COFFEE = (
    np.asarray(Image.fromarray(photo(name)).resize((640, 480)))
    for name in ("cat.png", "coffee.png")
)
NUM_DAMAGED = 10_000
GROWTH_BYTES = 48 << 20

of_either_codec = pytest.mark.parametrize("codec", get_args(Codec))


def pushed(key_frames: KeyFrames, packets: list[RtpPacket]) -> list[KeyFrame]:
    return [frame for packet in packets if (frame := key_frames.push(packet))]


def test_an_sdp_names_the_codecs() -> None:
    assert codecs_in(NEGOTIATED) == CODECS
    assert codecs_in("a=rtpmap:45 AV1/90000\r\na=rtpmap:98 VP9/90000\r\n") == {}


@of_either_codec
def test_key_frames_are_found_among_others(codec: Codec) -> None:
    sender, key_frames = Sender(codec), KeyFrames(CODECS)
    (frame,) = pushed(key_frames, sender.packets(CAT, is_key=True))
    picture = frame.decode().to_ndarray(format="rgb24")
    assert picture.shape == CAT.shape
    assert np.abs(picture.astype(int) - CAT).mean() < 12
    assert pushed(key_frames, sender.packets(CAT, is_key=False)) == []
    assert len(pushed(key_frames, sender.packets(COFFEE, is_key=True))) == 1


@of_either_codec
def test_packets_may_come_late_twice_or_between_others_but_all_must_come(codec: Codec) -> None:
    sender, key_frames = Sender(codec), KeyFrames(CODECS)
    packets = sender.packets(CAT, is_key=True)
    (expected,) = pushed(KeyFrames(CODECS), packets)
    later = sender.packets(CAT, is_key=False)
    assert len(packets) > 3
    first, second, *rest = packets
    assert pushed(key_frames, [first, *rest, *rest, *later]) == []
    (frame,) = pushed(key_frames, [second])
    assert frame.data == expected.data


def test_packets_of_a_type_that_was_not_negotiated_are_dropped() -> None:
    packets = Sender("h264").packets(CAT, is_key=True)
    assert pushed(KeyFrames({TYPES["vp8"]: "vp8"}), packets) == []


@of_either_codec
def test_a_huge_picture_is_refused_before_memory_is_taken(codec: Codec) -> None:
    side = 3200  # 10 megapixels
    packets = Sender(codec).packets(np.zeros((side, side, 3), np.uint8), is_key=True)
    (frame,) = pushed(KeyFrames(CODECS), packets)
    with pytest.raises((av.FFmpegError, ValueError)):
        frame.decode()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(CODECS)),
            st.binary(max_size=40),
            st.integers(0, 1),
            st.integers(0, 4),
        )
    )
)
def test_nonsense_is_no_picture(sent: list[tuple[int, bytes, int, int]]) -> None:
    key_frames = KeyFrames(CODECS)
    for kind, payload, marker, number in sent:
        try:
            frame = key_frames.push(RtpPacket(kind, marker, number, number, 1, payload))
        except ValueError:
            continue
        if frame is not None:
            with pytest.raises((av.FFmpegError, ValueError)):
                frame.decode()


def test_damaged_packets_neither_crash_nor_leak() -> None:
    """10,000 of both codecs, each as likely damaged as not."""
    rng = random.Random(11)
    small = [np.asarray(Image.fromarray(picture).resize((96, 64))) for picture in (CAT, COFFEE)]
    whole = [
        packet
        for codec in get_args(Codec)
        for sender in [Sender(codec)]
        for index in range(6)
        for packet in sender.packets(small[index % 2], is_key=True)
    ]
    key_frames = KeyFrames(CODECS)
    outcomes = {"malformed": 0, "refused": 0, "seen": 0}
    before_bytes = 0
    for index in range(NUM_DAMAGED):
        if index == NUM_DAMAGED // 5:  # by now, what is kept for later use is there
            before_bytes = psutil.Process().memory_info().rss
        packet = whole[index % len(whole)]
        packet.timestamp = (packet.timestamp + 90_000) & 0xFFFFFFFF  # the film goes round
        try:
            frame = key_frames.push(damaged(packet, rng) if rng.random() < 0.5 else packet)
        except ValueError:
            outcomes["malformed"] += 1
            continue
        if frame is None:
            continue
        try:
            frame.decode()
        except (av.FFmpegError, ValueError):
            outcomes["refused"] += 1
        else:
            outcomes["seen"] += 1
    assert min(outcomes.values()) > 100, outcomes
    assert psutil.Process().memory_info().rss - before_bytes < GROWTH_BYTES
