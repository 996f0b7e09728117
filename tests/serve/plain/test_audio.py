"""Speech and transcriptions, by the stock SDK."""

import io
import json
import wave
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest
from openai import BadRequestError, OpenAI

from omni.media.sound_file import FileFormat, SoundWriter, read_sound
from tests.serve.conftest import Live, Serve

QUESTION = Path(__file__).parent.parent.parent / "media" / "weather_question.wav"
TONE_S = 60 * len("Good morning.") / 1000


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[OpenAI]:
    with OpenAI(api_key="none", base_url=f"{live.url}/v1", max_retries=0) as made:
        yield made


def talk(*lengths_s: float) -> bytes:
    """A wav file at 16 kHz of noise that is long and loud enough to be speech, with pauses."""
    noise = np.random.default_rng(1).normal(0, 0.2, int(16000 * max(lengths_s)))
    parts = [part for length in lengths_s for part in (noise[: int(16000 * length)], SILENCE)]
    writer = SoundWriter("wav", 16000)
    return writer.push(np.concatenate(parts).astype(np.float32)) + writer.finish()


SILENCE = np.zeros(16000)


@pytest.mark.parametrize("file_format", get_args(FileFormat))
def test_speech_in_every_format(client: OpenAI, file_format: FileFormat) -> None:
    answer = client.audio.speech.create(
        model="tts-1", voice="alloy", input="Good morning.", response_format=file_format
    )
    data = answer.read()
    if file_format == "pcm":
        samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    else:
        samples = read_sound(io.BytesIO(data), 24000, 60)
    assert len(samples) / 24000 == pytest.approx(TONE_S, abs=0.1)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.1)


def test_speech_comes_while_it_is_made(serve: Serve) -> None:
    live = serve("brain.stub.speak_ms=1")
    body = {"model": "any", "voice": "x", "input": "Well then", "response_format": "wav"}
    with httpx.stream("POST", f"{live.url}/v1/audio/speech", json=body) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["content-type"] == "audio/wav"
        first = next(answer.iter_bytes())
    assert first.startswith(b"RIFF")


def test_speech_as_events(live: Live) -> None:
    body = {"model": "any", "voice": "x", "input": "Well", "stream_format": "sse"}
    lines = httpx.post(f"{live.url}/v1/audio/speech", json=body).text.split("\n\n")
    kinds = [json.loads(line.removeprefix("data: "))["type"] for line in lines if line]
    assert kinds[-1] == "speech.audio.done"
    assert set(kinds[:-1]) == {"speech.audio.delta"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "x" * 4097}, "input"),
        ({"response_format": "midi"}, "response_format"),
        ({"speed": 9}, "speed"),
    ],
)
def test_speech_that_cannot_be_made(client: OpenAI, change: dict[str, Any], param: str) -> None:
    good: dict[str, Any] = {"model": "any", "voice": "x", "input": "Well"}
    with pytest.raises(BadRequestError) as refusal:
        client.audio.speech.create(**{**good, **change})
    assert refusal.value.param == param


def transcribe(live: Live, sound: bytes, **fields: str) -> httpx.Response:
    files = {"file": ("talk.wav", sound)}
    data = {"model": "whisper-1", **fields}
    return httpx.post(f"{live.url}/v1/audio/transcriptions", files=files, data=data)


def test_a_recording_is_transcribed(client: OpenAI) -> None:
    with QUESTION.open("rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert answer.text.endswith(" tenths")
    with QUESTION.open("rb") as file:
        told = client.audio.transcriptions.create(
            model="whisper-1", file=file, response_format="verbose_json"
        )
    with wave.open(str(QUESTION)) as recording:
        length_s = recording.getnframes() / recording.getframerate()
    assert told.duration == pytest.approx(length_s, abs=0.05)
    assert told.segments
    assert 0 <= told.segments[0].start < told.segments[-1].end <= length_s + 0.01
    assert told.language == "en"


def test_a_long_recording_goes_piece_by_piece(live: Live) -> None:
    sound = talk(6, 7, 0.5, 20)
    told = transcribe(live, sound, response_format="verbose_json").json()
    times = [(segment["start"], segment["end"]) for segment in told["segments"]]
    assert len(times) >= 4
    assert all(end - start <= 12.01 for start, end in times)
    assert all(before[1] <= after[0] for before, after in pairwise(times))
    assert times[0][1] == pytest.approx(6, abs=0.4)
    assert times[1][0] == pytest.approx(7, abs=0.4)
    assert told["text"] == " ".join(segment["text"] for segment in told["segments"])


def test_subtitles(live: Live) -> None:
    sound = talk(6, 7)
    srt = transcribe(live, sound, response_format="srt").text
    assert srt.startswith("1\n00:00:00,000 --> 00:00:06,")
    assert "\n\n2\n00:00:06,7" in srt
    vtt = transcribe(live, sound, response_format="vtt").text
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:06.")
    assert transcribe(live, sound, response_format="text").text.count("tenths") == 2


def test_a_transcription_as_it_is_made(client: OpenAI) -> None:
    stream = client.audio.transcriptions.create(
        model="any", file=("talk.wav", talk(6, 7)), stream=True
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "transcript.text.delta",
        "transcript.text.delta",
        "transcript.text.done",
    ]
    said = "".join(event.delta for event in events if event.type == "transcript.text.delta")
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == said


def test_silence_has_no_words(live: Live) -> None:
    writer = SoundWriter("wav", 16000)
    sound = writer.push(np.zeros(32000, np.float32)) + writer.finish()
    assert transcribe(live, sound).json()["text"] == ""


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"


@pytest.mark.parametrize("data", [b"", b"RIFF", b"words", PLAYLIST, CONCAT, bytes(5000)])
def test_what_is_no_recording_is_refused(live: Live, data: bytes) -> None:
    answer = transcribe(live, data)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
    ],
)
def test_a_transcription_that_cannot_be_made(
    live: Live, fields: dict[str, str], param: str
) -> None:
    answer = transcribe(live, talk(1), **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_upload_has_its_limits(serve: Serve) -> None:
    live = serve("server.max_upload_bytes=100000", "server.max_upload_s=2")
    assert transcribe(live, bytes(200_000)).status_code == 413
    answer = transcribe(live, talk(2))
    assert answer.status_code == 400
    assert "longer than 2 s" in answer.json()["error"]["message"]
    assert live.gateway.num_sessions == 0
