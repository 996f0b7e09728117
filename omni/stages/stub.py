"""A brain without models: deterministic, with fixed delays. For tests, load and overhead figures.

Sound louder than a whisper is speech; its words are a number, its length in tenths of a second. A
reply is a template; its sound is a tone of 60 ms a character, so that it can be told from silence.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from omni.config import StubConfig
from omni.stages.base import Stage
from omni.stages.stub_tools import stub_call
from omni.types import (
    Activity,
    AudioChunk,
    Called,
    Chunk,
    Fence,
    Heard,
    JudgeTurn,
    PictureChunk,
    Prompt,
    Recognise,
    Samples,
    Say,
    Seen,
    Speech,
    SpeechOptions,
    StageName,
    Token,
    TurnHint,
    Word,
    frozen_array,
)

WINDOW_SAMPLES = 512
LOUD = 0.01  # root mean square
CHAR_MS = 60
TONE_HZ = 220


class StubStage:
    """What the stub stages share: no sessions to prepare, nothing to load, a fixed delay."""

    def __init__(self, delay_ms: float) -> None:
        self._delay_ms = delay_ms

    def load(self) -> None:
        """Nothing to load."""

    def open(self, session_id: str) -> None:
        """Room for everybody."""

    def close(self, session_id: str) -> None:
        """Nothing is kept of a session."""

    def has_work(self) -> bool:
        return False

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        out: list[Chunk] = []
        for chunk in chunks:
            out += self.answer(chunk)
        return out

    def answer(self, chunk: Chunk) -> list[Chunk]:
        """What one chunk leads to; nothing, unless a stage says otherwise."""
        return []

    def wait(self) -> None:
        if self._delay_ms:
            time.sleep(self._delay_ms / 1000)


class StubVad(StubStage):
    name: StageName = "vad"
    is_instant: Literal[True] = True

    def __init__(self) -> None:
        super().__init__(0)
        self._rest: dict[str, Samples] = {}

    def close(self, session_id: str) -> None:
        self._rest.pop(session_id, None)

    def answer(self, chunk: Chunk) -> list[Chunk]:
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        if isinstance(chunk, JudgeTurn):
            return [TurnHint(*stamp, chunk.turn_id, chunk.end_sample, 1.0)]
        if not isinstance(chunk, AudioChunk):
            return []
        rest = self._rest.get(chunk.session_id, np.zeros(0, np.float32))
        sound = np.concatenate([rest, chunk.samples])
        end = chunk.start_sample - len(rest)
        out: list[Chunk] = []
        while len(sound) >= WINDOW_SAMPLES:
            window, sound = sound[:WINDOW_SAMPLES], sound[WINDOW_SAMPLES:]
            end += WINDOW_SAMPLES
            out.append(Activity(*stamp, end, float(np.sqrt(np.mean(window**2)) > LOUD)))
        self._rest[chunk.session_id] = sound
        return out


class StubHear(StubStage):
    name: StageName = "hear"

    def answer(self, chunk: Chunk) -> list[Chunk]:
        if not isinstance(chunk, Recognise):
            return []
        self.wait()
        loud = np.abs(chunk.samples) > LOUD
        text = f"{round(int(loud.sum()) / 1600)} tenths" if loud.any() else ""
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        return [Heard(*stamp, chunk.turn_id, chunk.end_sample, text, "", "en", chunk.is_final)]


class StubSee(StubStage):
    name: StageName = "see"

    def answer(self, chunk: Chunk) -> list[Chunk]:
        if not isinstance(chunk, PictureChunk):
            return []
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        note = f"a picture of {len(chunk.encoded)} bytes"
        return [Seen(*stamp, chunk.picture_id, chunk.captured_ms, note)]


class StubThink(StubStage):
    """Writes the template word by word, one word a step and session."""

    name: StageName = "think"

    def __init__(self, config: StubConfig) -> None:
        super().__init__(config.think_ms)
        self._config = config
        self._writing: dict[str, deque[Token | Called]] = {}

    def close(self, session_id: str) -> None:
        self._writing.pop(session_id, None)

    def has_work(self) -> bool:
        return any(self._writing.values())

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        super().step(chunks)
        out: list[Chunk] = [words.popleft() for words in self._writing.values() if words]
        if out and self._config.token_ms:
            time.sleep(self._config.token_ms / 1000)
        return out

    def answer(self, chunk: Chunk) -> list[Chunk]:
        if isinstance(chunk, Fence):
            self._writing.pop(chunk.session_id, None)
        elif isinstance(chunk, Prompt) and chunk.max_tokens:
            self.wait()
            self._writing[chunk.session_id] = deque(self._write(chunk))
        return []

    def _write(self, prompt: Prompt) -> list[Token | Called]:
        stamp = (prompt.session_id, prompt.epoch, prompt.unit_index, prompt.response_id)
        if call := stub_call(prompt):
            return [call, Token(*stamp, 0, "", prompt.speech, "stop")]
        said = next((m.text for m in reversed(prompt.messages) if m.role != "system"), "")
        text = self._config.reply.format(text=said)[len(prompt.prefix) :]
        pieces = [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))]
        kept = pieces[: prompt.max_tokens]
        cost = (sum(len(m.text.split()) for m in prompt.messages), 0)
        written = [
            Token(*stamp, i, piece, prompt.speech, None, *cost, i + 1)
            for i, piece in enumerate(kept)
        ]
        written[-1] = replace(written[-1], finish="stop" if len(kept) == len(pieces) else "length")
        return list(written)


class StubSpeak(StubStage):
    """Speaks each word as it is written: a tone."""

    name: StageName = "speak"

    def answer(self, chunk: Chunk) -> list[Chunk]:
        match chunk:
            case Token(speech=SpeechOptions()):
                return [self._tone(chunk, chunk.text, chunk.finish is not None)]
            case Say():
                return [self._tone(chunk, chunk.text, chunk.is_last)]
            case _:
                return []

    def _tone(self, chunk: Token | Say, text: str, is_last: bool) -> Speech:
        self.wait()
        length_ms = CHAR_MS * len(text)
        phase = np.arange(length_ms * 24, dtype=np.float32) * (2 * np.pi * TONE_HZ / 24000)
        words = (Word(text.strip(), 0, length_ms),) if text.strip() else ()
        index = chunk.index if isinstance(chunk, Token) else 0
        samples = frozen_array(np.asarray(0.3 * np.sin(phase), np.float32))
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        return Speech(*stamp, chunk.response_id, index, samples, text, words, is_last)


def stub_stage(name: StageName, config: StubConfig) -> Stage:
    """The stub's stage of that name."""
    match name:
        case "vad":
            return StubVad()
        case "hear":
            return StubHear(config.hear_ms)
        case "see":
            return StubSee(0)
        case "think":
            return StubThink(config)
        case "speak":
            return StubSpeak(config.speak_ms)
