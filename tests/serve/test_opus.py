"""Opus both ways: the clock of the call holds whatever happens to its packets."""

import numpy as np
import pytest

from omni.errors import MediaError
from omni.serve import libopus
from omni.serve.libopus import OpusDecoder, OpusEncoder, duration_ticks, has_fec
from omni.serve.opus import FRAME_SAMPLES, OpusReceiver, OpusSender
from omni.types import Samples
from tests.serve.packets import Talk, speech, tone

HEARD_FRAME = 320


def receive(talk: Talk) -> Samples:
    """The whole call, polled every 20 ms, to the end of its time."""
    receiver = OpusReceiver()
    return np.concatenate([sound for _, sound in talk.run(receiver)])


def pitch_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 16000 / len(samples))


def noise_db(sound: Samples, wanted: Samples) -> float:
    size = min(len(sound), len(wanted))
    error = sound[:size] - wanted[:size]
    return float(10 * np.log10(np.mean(error**2) / np.mean(wanted[:size] ** 2)))


def test_a_tone_comes_through() -> None:
    heard = receive(Talk(tone(50)))
    assert len(heard) == 50 * HEARD_FRAME
    assert pitch_hz(heard) == pytest.approx(440, abs=2)
    assert np.abs(heard[1600:]).max() == pytest.approx(0.3, abs=0.05)


def test_a_tone_is_as_pure_after_24_to_48_to_16_khz_as_a_voice_codec_leaves_it() -> None:
    heard = receive(Talk(tone(100)))[8000:24000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(heard * np.blackman(len(heard)))) ** 2
    line = spectrum[430:450].sum()
    # Frames that did not join would click at 50 Hz and all its multiples: −25 dB and up.
    assert 10 * np.log10((spectrum.sum() - line) / line) < -35


def test_lost_packets_take_their_time() -> None:
    for lost in ({10}, {10, 11, 12}, {5, 20, 21, 40}, set(range(10, 30))):
        assert len(receive(Talk(tone(50), lost=lost))) == 50 * HEARD_FRAME


def test_a_lost_packet_is_told_by_the_next_ones_fec() -> None:
    packets = speech()
    lost = set(range(5, len(packets), 10))
    clean = receive(Talk(packets))
    assert noise_db(receive(Talk(packets, lost=lost)), clean) < -15
    plain = OpusReceiver()
    plain._conceal = lambda num, _: [np.zeros(num, np.float32)]  # type: ignore[method-assign]
    silent = np.concatenate([sound for _, sound in Talk(packets, lost=lost).run(plain)])
    assert noise_db(silent, clean) > -12


def test_what_no_fec_tells_is_guessed() -> None:
    lost = {20, 21, 22}
    heard = receive(Talk(tone(50), lost=lost))
    gap = heard[20 * HEARD_FRAME : 22 * HEARD_FRAME]
    assert pitch_hz(gap) == pytest.approx(440, abs=30)
    assert np.abs(gap).max() > 0.1


def test_a_long_loss_ends_in_silence() -> None:
    heard = receive(Talk(tone(50), lost=set(range(10, 30))))
    assert np.abs(heard[18 * HEARD_FRAME : 28 * HEARD_FRAME]).max() == 0


@pytest.mark.parametrize("broken", [b"", b"\xff", b"\x00" * 3, bytes(range(256)) * 8])
@pytest.mark.parametrize("num_broken", [1, 3])
def test_a_broken_packet_stops_nothing(broken: bytes, num_broken: int) -> None:
    packets = tone(50)
    for packet in packets[10 : 10 + num_broken]:
        packet.payload = broken
    heard = receive(Talk(packets))
    assert len(heard) == pytest.approx(50 * HEARD_FRAME, abs=HEARD_FRAME)
    resumed = heard[(10 + num_broken) * HEARD_FRAME :][:1600]  # within 100 ms
    assert pitch_hz(resumed) == pytest.approx(440, abs=15)
    assert np.abs(resumed[-320:]).max() > 0.2


@pytest.mark.parametrize("num_empty", [1, 5, 50])
def test_after_empty_packets_the_next_one_is_heard_as_it_comes(num_empty: int) -> None:
    packets = tone(100)
    for packet in packets[20 : 20 + num_empty]:
        packet.payload = b""
    last_empty_ms = 50 + 20 * (19 + num_empty)
    told = [(at, sound) for at, sound in Talk(packets).run(OpusReceiver()) if len(sound)]
    heard_ms = [at for at, sound in told if at > last_empty_ms and np.abs(sound[-320:]).max() > 0.2]
    assert heard_ms[0] - last_empty_ms <= 40  # 100 are allowed


def test_every_random_payload_is_survived() -> None:
    rng = np.random.default_rng(1)
    packets = tone(200)
    for packet in packets[50:150:2]:
        packet.payload = rng.bytes(int(rng.integers(1, 300)))
    heard = receive(Talk(packets))
    assert len(heard) == pytest.approx(200 * HEARD_FRAME, abs=6 * HEARD_FRAME)
    assert pitch_hz(heard[-8000:]) == pytest.approx(440, abs=3)


def test_our_packets_are_mono_small_and_carry_fec() -> None:
    payloads = [packet.payload for packet in speech()]
    assert not any(payload[0] & 4 for payload in payloads)  # the stereo bit
    bit_rate = sum(map(len, payloads)) * 8 / (len(payloads) * 0.02)
    assert 24_000 <= bit_rate <= 33_000
    assert np.mean([has_fec(payload) for payload in payloads]) > 0.6


def test_silence_costs_nothing_once_settled() -> None:
    sender = OpusSender()
    payloads = [sender.silence() for _ in range(30)]
    assert payloads[-1] is payloads[-10]
    assert all(duration_ticks(payload) == 960 for payload in payloads)


def test_beyond_full_scale_and_not_a_number_are_encoded() -> None:
    sender = OpusSender()
    decoder = OpusDecoder(24000)
    for value in (5.0, np.nan, np.inf):
        sound = decoder.decode(sender.push(np.full(FRAME_SAMPLES, value, np.float32)))
        assert np.isfinite(sound).all()


def test_a_payload_that_is_not_opus_is_refused() -> None:
    decoder = OpusDecoder(16000)
    with pytest.raises(MediaError):
        decoder.decode(b"\xff")
    frame = np.zeros(480, np.float32)
    payload = OpusEncoder(24000, 32000, loss_percent=10, complexity=0).encode(frame)
    assert len(decoder.decode(payload)) == HEARD_FRAME
    assert len(decoder.conceal(HEARD_FRAME, b"\xff")) == HEARD_FRAME
    assert len(decoder.conceal(10)) == 0


def test_the_library_is_the_one_that_pyav_brings() -> None:
    assert "av.libs" in next(iter(libopus._candidates()))
