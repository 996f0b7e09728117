"""The minicpm-o brain in half duplex over a websocket: a tiny random checkpoint behind the server.

The user's voice is found by its loudness, so that no other model is needed.
"""

import asyncio
import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from omni.client import Client, talking_to
from omni.config import OmniConfig, load
from omni.models.minicpmo.turns import Manner, Unit
from omni.stages.base import Stage
from omni.stages.build import build_stage
from omni.stages.stub import stub_stage
from omni.types import Chunk, Samples, StageName
from omni.units import AnswerWords, Respond, TakeBack, TurnPart, UnitSound
from tests.models.minicpmo.one_piece import OnePiece
from tests.serve.conftest import Live
from tests.stages.minicpmo.flow import PACK, SEED, STAGES

LIMIT_S = 180  # nothing here waits for the clock
RATE_HZ = 24000
SILENCE = np.zeros(RATE_HZ, np.float32)


class Witness:
    """A stage, and all that it was given."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.name: StageName = stage.name
        self.given: list[Chunk] = []
        self.load, self.open, self.close = stage.load, stage.open, stage.close
        self.has_work = stage.has_work

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        self.given += chunks
        return self.stage.step(chunks)

    def heard(self, session_id: str) -> list[Samples]:
        """The seconds that a session's ears were given."""
        return [
            c.samples for c in self.given if isinstance(c, UnitSound) and c.session_id == session_id
        ]

    def of(self, session_id: str) -> list[Chunk]:
        return [chunk for chunk in self.given if chunk.session_id == session_id]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config() -> OmniConfig:
    return load(
        "minicpm-o-half",
        [
            "server.port=0",
            f"brain.checkpoint={PACK}",
            "brain.think.context_tokens=2048",
            "brain.think.max_reply_tokens=40",
            "brain.duplex.window.high_rows=1000",
            "brain.duplex.window.low_rows=800",
            "brain.duplex.half.max_thoughts=12",
            "brain.duplex.half.top_k=1",  # whatever was drawn for an answer that was broken off
            f"brain.duplex.seed={SEED}",
            "turn.silence_duration_ms=400",
        ],
    )


@pytest.fixture(scope="module")
def witnesses(config: OmniConfig) -> dict[str, Witness]:
    return {name: Witness(build_stage(config, name)) for name in STAGES}


@pytest.fixture(scope="module")
def live(config: OmniConfig, witnesses: dict[str, Witness]) -> Iterator[Live]:
    server = Live(config, [stub_stage("vad", config.brain.stub), *witnesses.values()], None)
    yield server
    server.stop()


def voice(seconds: float, seed: int) -> Samples:
    noise = np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))
    return (noise * 0.2).astype(np.float32)


async def until(client: Client, kind: str, seen: list[dict[str, Any]]) -> dict[str, Any]:
    """The next event of a kind; all on the way there are noted."""
    async with asyncio.timeout(LIMIT_S):
        async for event in client.events():
            seen.append(event)
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event
    raise AssertionError


def text_in(seen: Sequence[dict[str, Any]], kind: str) -> str:
    return "".join(event["delta"] for event in seen if event["type"] == kind)


def sound_in(seen: Sequence[dict[str, Any]]) -> Samples:
    deltas = [e["delta"] for e in seen if e["type"] == "response.output_audio.delta"]
    pcm = np.frombuffer(b"".join(map(base64.b64decode, deltas)), "<i2")
    return pcm.astype(np.float32) / 32768


def read_all(model: OnePiece, seconds: Sequence[Samples]) -> None:
    for second in seconds:
        model.read(Unit(torch.from_numpy(second.copy())))


async def test_a_turn_is_answered_and_may_be_talked_over(
    live: Live, config: OmniConfig, witnesses: dict[str, Witness]
) -> None:
    """What is said is what the model says alone; and after an interruption it goes on from what
    was heard."""
    model = OnePiece(config, config.brain.think.instructions)
    seen: list[dict[str, Any]] = []
    async with talking_to(live.url) as client:
        created = await until(client, "session.created", seen)
        session_id = created["session"]["id"]
        client.hear_microphone(np.concatenate([voice(1.5, 1), SILENCE]))
        await until(client, "response.created", seen)
        while len(sound_in(seen)) < RATE_HZ // 2:
            await until(client, "response.output_audio.delta", seen)
        client.hear_microphone(np.concatenate([voice(1.5, 2), SILENCE]))
        done = await until(client, "response.done", seen)
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        heard, sound = text_in(seen, "response.output_audio_transcript.delta"), sound_in(seen)
        await until(client, "response.created", later := [])
        while len(sound_in(later)) < RATE_HZ // 2:
            await until(client, "response.output_audio.delta", later)
        await client.send({"type": "response.cancel"})
        await until(client, "response.done", later)
    thought = witnesses["think"].of(session_id)
    num_read = [type(c) for c in thought if isinstance(c, TurnPart | Respond)].index(Respond)
    seconds = witnesses["hear"].heard(session_id)
    read_all(model, seconds[:num_read])
    words, expected = model.answer(Manner(max_tokens=40))
    assert len(expected) > 3 * RATE_HZ  # there was something to talk over
    text = model.brain.tokens.decode(words).strip()
    assert text.startswith(heard.strip().rstrip("\ufffd"))
    played = sound[: RATE_HZ // 2]
    np.testing.assert_allclose(played, expected[: len(played)], atol=2e-2)

    [taken, *_] = [chunk for chunk in thought if isinstance(chunk, TakeBack)]
    model.half.answering.take_back(model.session.thinking, taken.heard)
    read_all(model, seconds[num_read:])
    words, _ = model.answer(Manner(max_tokens=40))
    spoken = [c for c in witnesses["speak"].of(session_id) if isinstance(c, AnswerWords)]
    again = [i for c in spoken if c.response_id != taken.response_id for i in c.token_ids]
    assert again
    assert again == words[: len(again)]


async def test_two_sessions_answer_each_its_own_and_neither_tells_its_thoughts(
    live: Live, config: OmniConfig, witnesses: dict[str, Witness]
) -> None:
    async def talk(seed: int, effort: str) -> tuple[str, str, list[dict[str, Any]]]:
        seen: list[dict[str, Any]] = []
        async with talking_to(live.url) as client:
            created = await until(client, "session.created", seen)
            await client.configure({"output_modalities": ["text"], "reasoning": {"effort": effort}})
            updated = await until(client, "session.updated", seen)
            assert updated["session"]["reasoning"] == {"effort": effort}
            client.hear_microphone(np.concatenate([voice(1.2, seed), SILENCE]))
            await until(client, "response.done", seen)
        return created["session"]["id"], text_in(seen, "response.output_text.delta"), seen

    talks = await asyncio.gather(talk(3, "high"), talk(4, "minimal"))
    for (session_id, text, seen), is_thinking in zip(talks, (True, False), strict=True):
        model = OnePiece(config, config.brain.think.instructions)
        read_all(model, witnesses["hear"].heard(session_id))
        manner = Manner(is_thinking=is_thinking, is_spoken=False, max_tokens=40)
        words, _ = model.answer(manner)
        assert text.strip() == model.brain.tokens.decode(words).strip()
        answer = model.session.thinking.answer
        assert answer is not None
        assert (answer.num_thoughts > 0) == is_thinking
        done = seen[-1]["response"]
        assert done["output"][0]["content"][0]["text"] == text.strip()
        if is_thinking:
            assert done["usage"]["output_tokens"] > len(words)
    assert talks[0][1] != talks[1][1]
