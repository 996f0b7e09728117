import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.errors import MediaError
from omni.media.audio import (
    Framer,
    Resampler,
    decode,
    encode,
    from_base64,
    resample,
    to_base64,
    to_float,
    to_int16,
)

RATES = [
    (48000, 16000),
    (24000, 16000),
    (16000, 24000),
    (24000, 48000),
    (8000, 16000),
    (44100, 16000),
    (16000, 16000),
]


def noise(num_samples, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, num_samples).astype(np.float32)


def test_every_int16_survives_the_round_trip():
    pcm = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_int16(to_float(pcm)), pcm)


def test_beyond_full_scale_is_clipped_not_wrapped():
    loud = np.array([-9.0, -1.0, 1.0, 1e9, np.inf, -np.inf, np.nan], np.float32)
    expected = [-32768, -32768, 32767, 32767, 32767, -32768, 0]
    np.testing.assert_array_equal(to_int16(loud), expected)


def test_pcm16_is_little_endian():
    assert encode(np.array([0.5, -1.0], np.float32), "pcm16") == b"\x00\x40\x00\x80"
    np.testing.assert_array_equal(decode(b"\x00\x40\x00\x80", "pcm16"), [0.5, -1.0])


def test_half_a_sample_is_an_error_that_names_the_field():
    with pytest.raises(MediaError) as caught:
        decode(b"\x00\x40\x00", "pcm16", param="item.content.audio")
    assert caught.value.param == "item.content.audio"
    assert "3" in caught.value.message


@given(st.binary(max_size=64))
def test_base64_round_trip(data):
    assert from_base64(to_base64(data)) == data


@pytest.mark.parametrize("text", ["QUJ", "QU*C", "QUJD\n", "é"])
def test_what_is_not_base64_names_the_field(text):
    with pytest.raises(MediaError) as caught:
        from_base64(text, param="audio")
    assert caught.value.param == "audio"


@pytest.mark.parametrize(
    ("encoding", "code", "level"),
    [
        ("ulaw", 0xFF, 0), ("ulaw", 0x80, 32124), ("ulaw", 0x00, -32124), ("ulaw", 0xEF, 132),
        ("alaw", 0xD5, 8), ("alaw", 0x55, -8), ("alaw", 0xAA, 32256), ("alaw", 0x2A, -32256),
    ],
)  # fmt: skip
def test_g711_levels_of_the_standard(encoding, code, level):
    assert to_int16(decode(bytes([code]), encoding)).tolist() == [level]
    assert encode(decode(bytes([code]), encoding), encoding) == bytes([code])


@pytest.mark.parametrize("encoding", ["ulaw", "alaw"])
def test_g711_codes_survive_the_round_trip(encoding):
    codes = bytes(code for code in range(256) if (encoding, code) != ("ulaw", 0x7F))
    assert encode(decode(codes, encoding), encoding) == codes
    assert decode(b"\x7f", "ulaw") == decode(b"\xff", "ulaw")  # μ-law has two zeros


@pytest.mark.parametrize("encoding", ["ulaw", "alaw"])
def test_g711_is_exact_to_a_32nd(encoding):
    """Both laws have 16 steps to each doubling, so half a step is 1/32 of the sample."""
    pcm = np.arange(-32768, 32768).astype(np.int16)
    heard = to_int16(decode(encode(to_float(pcm), encoding), encoding)).astype(int)
    assert (np.abs(heard - pcm) <= np.maximum(np.abs(pcm) / 32 + 4, 8))[644:-644].all()
    assert (np.diff(heard) >= 0).all()


@given(
    st.sampled_from(RATES),
    st.lists(st.integers(0, 3000), min_size=1, max_size=12),
)
def test_resampling_does_not_depend_on_the_chunks(rates, sizes):
    signal = noise(sum(sizes))
    stream = Resampler(*rates)
    chunks = np.split(signal, np.cumsum(sizes)[:-1])
    got = np.concatenate([*(stream.push(chunk) for chunk in chunks), stream.flush()])
    np.testing.assert_allclose(got, resample(signal, *rates), atol=1e-6)


@pytest.mark.parametrize(("source_hz", "target_hz"), RATES)
def test_resampling_keeps_length_and_pitch(source_hz, target_hz):
    tone = np.sin(2 * np.pi * 440 * np.arange(source_hz) / source_hz).astype(np.float32)
    got = resample(tone, source_hz, target_hz)
    expected = np.sin(2 * np.pi * 440 * np.arange(target_hz) / target_hz)
    assert len(got) == target_hz
    inner = slice(target_hz // 10, -target_hz // 10)
    np.testing.assert_allclose(got[inner], expected[inner], atol=2e-3)


def test_resampling_leaves_nothing_above_the_new_limit():
    tone = np.sin(2 * np.pi * 10000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(resample(tone, 48000, 16000)[1000:-1000]).max() < 1e-3


@pytest.mark.parametrize(("source_hz", "target_hz"), [(48000, 16000), (24000, 48000)])
def test_resampler_holds_back_two_ms_at_most(source_hz, target_hz):
    stream, got = Resampler(source_hz, target_hz), 0
    for pushed in range(1, 51):
        got += len(stream.push(noise(source_hz // 50)))
        assert pushed / 50 - got / target_hz <= 0.002


def test_a_flushed_resampler_starts_anew():
    stream = Resampler(48000, 16000)
    stream.push(noise(5000))
    stream.flush()
    got = np.concatenate([stream.push(noise(9600, seed=1)), stream.flush()])
    np.testing.assert_allclose(got, resample(noise(9600, seed=1), 48000, 16000), atol=1e-6)


@given(st.lists(st.integers(0, 1200), max_size=12), st.integers(1, 700))
def test_framing_keeps_every_sample_in_order(sizes, frame_samples):
    signal = np.arange(sum(sizes), dtype=np.float32)
    framer, frames = Framer(frame_samples), []
    for chunk in np.split(signal, np.cumsum(sizes)):
        frames.extend(framer.push(chunk))
    assert all(len(frame) == frame_samples for frame in frames)
    rest = framer.flush()
    assert len(rest) < frame_samples
    np.testing.assert_array_equal(np.concatenate([*frames, rest]), signal)
    assert len(framer.flush()) == 0
