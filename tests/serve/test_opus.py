"""Opus both ways: the clock of the call holds whatever happens to its packets."""

from dataclasses import dataclass

import numpy as np
import pytest

from omni.serve.opus import FRAME_TICKS, OpusReceiver, OpusSender
from omni.types import Samples

HEARD_FRAME = 320


@dataclass
class Packet:
    sequence_number: int
    timestamp: int
    payload: bytes


def tone(num_frames: int) -> list[Packet]:
    """A 440 Hz tone as packets, numbered across both wraps."""
    sender = OpusSender()
    time = np.arange(num_frames * 480) / 24000
    sound = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32).reshape(-1, 480)
    return [
        Packet((65530 + n) % 65536, (2**32 - 3 * FRAME_TICKS + n * FRAME_TICKS) % 2**32, bytes(p))
        for n, p in enumerate(map(sender.push, sound))
    ]


def receive(packets: list[Packet]) -> Samples:
    receiver = OpusReceiver()
    return np.concatenate([receiver.push(packet) for packet in packets])


def pitch_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 16000 / len(samples))


def test_a_tone_comes_through() -> None:
    heard = receive(tone(50))
    assert len(heard) == pytest.approx(50 * HEARD_FRAME, abs=32)
    assert pitch_hz(heard) == pytest.approx(440, abs=2)
    assert np.abs(heard[1600:]).max() == pytest.approx(0.3, abs=0.05)


def test_a_packet_in_order_is_heard_at_once() -> None:
    receiver = OpusReceiver()
    for packet in tone(10):
        assert len(receiver.push(packet)) >= HEARD_FRAME - 32


def test_packets_out_of_order_are_put_in_order() -> None:
    packets = tone(50)
    shuffled = packets.copy()
    for n in range(5, 45, 5):
        shuffled[n], shuffled[n + 1] = shuffled[n + 1], shuffled[n]
    np.testing.assert_array_equal(receive(shuffled), receive(packets))


@pytest.mark.parametrize("lost", [{10}, {10, 11, 12}, {5, 20, 21, 40}, set(range(10, 45))])
def test_lost_packets_take_their_time(lost: set[int]) -> None:
    packets = [p for n, p in enumerate(tone(50)) if n not in lost]
    assert len(receive(packets)) == pytest.approx(50 * HEARD_FRAME, abs=32)


def test_a_twice_sent_packet_is_heard_once() -> None:
    packets = tone(20)
    np.testing.assert_array_equal(receive([p for q in packets for p in (q, q)]), receive(packets))


@pytest.mark.parametrize("broken", [b"", b"\xff", b"\x00" * 3, bytes(range(256)) * 8])
def test_a_broken_packet_stops_nothing(broken: bytes) -> None:
    packets = tone(50)
    packets[10].payload = broken
    heard = receive(packets)
    assert len(heard) == pytest.approx(50 * HEARD_FRAME, abs=HEARD_FRAME * 6)
    assert pitch_hz(heard[-8000:]) == pytest.approx(440, abs=3)


def test_a_restarted_stream_is_followed() -> None:
    packets = tone(50)
    for packet in packets[25:]:
        packet.sequence_number = (packet.sequence_number + 20_000) % 65536
        packet.timestamp = (packet.timestamp + 10**9) % 2**32
    assert len(receive(packets)) == pytest.approx(50 * HEARD_FRAME, abs=32)


def test_silence_told_for_a_gap_is_not_told_again() -> None:
    packets = tone(50)
    receiver = OpusReceiver()
    heard = [receiver.push(packet) for packet in packets[:20]]
    heard.append(receiver.elapse(20 * HEARD_FRAME))
    heard += [receiver.push(packet) for packet in packets[40:]]
    assert len(np.concatenate(heard)) == pytest.approx(50 * HEARD_FRAME, abs=32)


def test_the_senders_clock_never_stops() -> None:
    sender = OpusSender()
    packets = [sender.silence() for _ in range(30)]
    packets.append(sender.push(np.full(100, 0.5, np.float32)))
    sender.skip(7)
    packets.append(sender.silence())
    times = [packet.pts for packet in packets]
    assert times == [n * FRAME_TICKS for n in [*range(31), 38]]
    assert all(len(bytes(packet)) for packet in packets)
