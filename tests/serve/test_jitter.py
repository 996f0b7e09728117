"""The jitter buffer on virtual time: what a listener hears, when, and how long it is."""

import random

import numpy as np
import pytest

from omni.serve.jitter import MAX_PATIENCE_MS, MIN_PATIENCE_MS, JitterBuffer
from omni.serve.opus import OpusReceiver
from omni.types import Samples
from tests.serve.packets import SoundPacket, Talk, opus_packets, tone

PATH_MS = 50  # what every packet of a Talk takes
FRAME = 320


def told(talk: Talk, receiver: OpusReceiver | None = None) -> tuple[Samples, dict[int, float]]:
    """The call as heard, and for each of its frames the delay with which it was told, in ms
    beyond the path's."""
    receiver = receiver or OpusReceiver()
    heard: list[Samples] = []
    delays_ms: dict[int, float] = {}
    num_samples = 0
    for now_ms, sound in talk.run(receiver):
        before, num_samples = num_samples // FRAME, num_samples + len(sound)
        for frame in range(before, num_samples // FRAME):
            delays_ms[frame] = now_ms - PATH_MS - 20 * frame
        heard.append(sound)
    return np.concatenate(heard), delays_ms


def test_what_comes_in_order_is_told_at_once() -> None:
    _, delays_ms = told(Talk(tone(100)))
    assert set(delays_ms.values()) == {0}


def test_a_hole_delays_what_follows_by_a_frame_and_no_longer() -> None:
    heard, delays_ms = told(Talk(tone(100), lost={40}))
    assert len(heard) == 100 * FRAME
    assert delays_ms[41] <= 20
    assert {delays_ms[frame] for frame in range(43, 100)} == {0}


@pytest.mark.parametrize("burst", [5, 10, 14])
def test_after_a_burst_of_losses_delay_is_normal_at_once(burst: int) -> None:
    heard, delays_ms = told(Talk(tone(200), lost=set(range(60, 60 + burst))))
    assert len(heard) == 200 * FRAME
    assert {delays_ms[frame] for frame in range(62 + burst, 200)} == {0}


def test_a_stalled_network_loses_no_word_and_delay_is_normal_at_once() -> None:
    stall = {n: 20.0 * (71 - n) for n in range(60, 71)}  # all arrive together
    packets = tone(200)
    heard, delays_ms = told(Talk(packets, delays_ms=stall))
    clean, _ = told(Talk(packets))
    np.testing.assert_array_equal(heard, clean)
    assert {delays_ms[frame] for frame in range(72, 200)} == {0}


def test_late_words_are_heard_and_the_time_is_taken_back_in_the_next_pause() -> None:
    stall = {n: 20.0 * (101 - n) for n in range(60, 101)}  # 0.8 s
    packets = tone(200)
    pause = opus_packets(np.zeros(70 * 480, np.float32))
    for packet, quiet in zip(packets[130:], pause, strict=True):
        packet.payload = quiet.payload
    heard, _ = told(Talk(packets, delays_ms=stall))
    loudness = np.abs(heard.reshape(-1, FRAME)).max(1)
    assert (loudness > 0.2).sum() >= 129  # every one of the tone's frames
    assert len(heard) == 200 * FRAME


def test_swapped_packets_are_told_in_order() -> None:
    packets = tone(100)
    clean, _ = told(Talk(packets))
    swapped = dict.fromkeys(range(5, 95, 5), 25.0)
    heard, delays_ms = told(Talk(packets, delays_ms=swapped))
    np.testing.assert_array_equal(heard, clean)
    assert max(delays_ms.values()) <= 25


def test_patience_follows_the_path() -> None:
    rng = random.Random(3)
    buffer = JitterBuffer()
    packets = tone(1500)
    arrivals = []
    for n, packet in enumerate(packets):
        is_rough = 500 <= n < 1000
        delay_ms = max(0.0, rng.gauss(60, 40)) if is_rough else rng.uniform(0, 5)
        arrivals.append((20 * n + delay_ms, n, packet))
    patience = {}
    for now_ms, n, packet in sorted(arrivals):
        buffer.push(packet, now_ms)
        patience[n] = buffer.patience_ms
    assert patience[490] == MIN_PATIENCE_MS
    assert 100 <= patience[950] <= MAX_PATIENCE_MS
    assert patience[1490] == MIN_PATIENCE_MS


@pytest.mark.parametrize(("loss", "jitter_ms"), [(0.05, 10), (0.1, 30), (0.02, 50)])
def test_the_timeline_holds_on_a_bad_path(loss: float, jitter_ms: float) -> None:
    rng = random.Random(5)
    lost = {n for n in range(1, 990) if rng.random() < loss}
    delays = {n: max(0.0, rng.gauss(0, jitter_ms)) for n in range(10, 990)}
    heard, delays_ms = told(Talk(tone(1000), lost, delays))
    assert len(heard) == 1000 * FRAME
    assert max(delays_ms.values()) <= MAX_PATIENCE_MS + 40
    assert np.median(list(delays_ms.values())) <= 2 * jitter_ms


def test_time_goes_on_without_packets_and_is_not_told_again() -> None:
    lost = set(range(50, 150))  # 2 s
    heard, delays_ms = told(Talk(tone(250), lost=lost))
    assert len(heard) == 250 * FRAME
    assert max(delays_ms.values()) <= 340
    assert max(delays_ms[frame] for frame in range(70, 250)) <= 60


def test_time_stands_still_after_ten_seconds_without_packets() -> None:
    receiver = OpusReceiver()
    (packet,) = tone(1)
    num = len(receiver.push(packet, 0))
    for tick in range(1, 1000):
        num += len(receiver.poll(20.0 * tick))
    assert num == pytest.approx(10 * 16000, abs=2 * FRAME)


def test_a_sender_that_says_nothing_in_silence_is_not_waited_for() -> None:
    packets = tone(100)
    sent = [*range(41), 60, 80, 99]
    for n in range(40, 100):
        packets[n].payload = packets[n].payload[:1]  # DTX: a header, and nothing is coming
    for number, n in enumerate(sent):
        packets[n].sequence_number = number
    heard, delays_ms = told(Talk(packets, lost=set(range(100)) - set(sent)))
    assert len(heard) == 100 * FRAME
    assert max(delays_ms.values()) <= 80


def test_a_packet_twice_or_far_too_late_is_not_heard() -> None:
    packets = tone(60)
    clean, _ = told(Talk(packets))
    again = [*packets, *packets[::7]]
    heard, _ = told(Talk(again))
    np.testing.assert_array_equal(heard[: len(clean)], clean)


def restarted(packets: list[SoundPacket], **change: int) -> list[SoundPacket]:
    for packet in packets:
        packet.sequence_number = (packet.sequence_number + change.get("sequence", 0)) % 2**16
        packet.timestamp = (packet.timestamp + change.get("timestamp", 0)) % 2**32
        packet.ssrc += change.get("ssrc", 0)
    return packets


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 20_000, "timestamp": 10**9},
        {"timestamp": 10**9},
        {"timestamp": 2**32 - 24_000},
        {"sequence": 20_000},
        {"ssrc": 7},
        {"ssrc": 7, "sequence": 999, "timestamp": 123_456_789},
    ],
)
def test_a_stream_that_begins_anew_is_followed(change: dict[str, int]) -> None:
    packets = tone(100)
    restarted(packets[50:], **change)
    heard, delays_ms = told(Talk(packets))
    assert len(heard) == 100 * FRAME
    assert max(delays_ms.values()) == 0
    assert np.abs(heard[51 * FRAME :].reshape(-1, FRAME)).max(1).min() > 0.2


def test_a_slower_path_is_followed() -> None:
    slower = dict.fromkeys(range(100, 400), 500.0)
    heard, _ = told(Talk(tone(400), delays_ms=slower))
    assert np.abs(heard[-100 * FRAME :].reshape(-1, FRAME)).max(1).min() > 0.2


@pytest.mark.parametrize("drift", [-0.001, 0.001])
def test_a_clock_that_is_a_thousandth_off_changes_nothing(drift: float) -> None:
    num = 3000
    off = {n: 60 + 20 * n * drift for n in range(num)}
    heard, _ = told(Talk(tone(num), delays_ms=off))
    assert len(heard) == num * FRAME
