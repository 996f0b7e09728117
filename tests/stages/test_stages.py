"""The embedded brain's stages around fake models: order, state, and what is kept of a text."""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.chat import Message
from omni.dialog.clauses import ClauseSplitter
from omni.errors import StageError
from omni.models.core import Request, Step
from omni.stages.hear import HearStage
from omni.stages.speak import URGENT_CLAUSES, SpeakStage
from omni.stages.think import ThinkStage
from omni.types import (
    Chunk,
    Fence,
    Heard,
    Prompt,
    Recognise,
    Samples,
    Say,
    Speech,
    SpeechOptions,
    StageReport,
    Token,
    Voicing,
)

VOICE = SpeechOptions("af_heart")


class FakeCore:
    """Writes the words of its prompt's last message back, one a step."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.texts: list[str] = []
        self.running: dict[str, tuple[Request, deque[str]]] = {}
        self.forgotten: list[str] = []

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        self.texts.append(str(messages[-1]["content"]))
        return [len(message["content"]) for message in messages]

    def encode(self, text: str) -> list[int]:
        return [-len(text)]

    def submit(self, request: Request) -> None:
        if "refuse" in self.texts[-1]:
            raise StageError("too long", code="context_length_exceeded")
        self.requests.append(request)
        words = self.texts[-1].split() if request.max_tokens else []
        self.running[request.session_id] = (request, deque(words))

    def cancel(self, session_id: str) -> None:
        self.running.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        self.forgotten.append(session_id)

    def has_work(self) -> bool:
        return bool(self.running)

    def step(self) -> list[Step]:
        steps = []
        for session_id, (request, words) in list(self.running.items()):
            text = words.popleft() if words else ""
            if not words:
                del self.running[session_id]
            finish = None if words else "stop"
            steps.append(Step(session_id, request.request_id, text, finish, 7, 3))  # type: ignore[arg-type]
        return steps


def prompt(text: str, session_id: str = "s", **changes: Any) -> Prompt:
    fields = {"max_tokens": 8, "temperature": 0.0, "speech": VOICE, **changes}
    messages = (Message("system", "be kind"), Message("user", text))
    return Prompt(session_id, 0, 0, "r", messages, **fields)


def thinking(*sessions: str) -> tuple[ThinkStage, FakeCore]:
    core = FakeCore()
    stage = ThinkStage(lambda: core)  # type: ignore[arg-type,return-value]
    stage.load()
    for session_id in sessions:
        stage.open(session_id)
    return stage, core


def drain(stage: ThinkStage | SpeakStage, *chunks: Chunk) -> list[Chunk]:
    out = stage.step(chunks)
    while stage.has_work():
        out += stage.step([])
    return out


def test_every_session_that_waits_gets_a_token_each_step() -> None:
    stage, _ = thinking("s", "t")
    out = stage.step([prompt("one two"), prompt("three four", "t")])
    assert [(t.session_id, t.text) for t in out if isinstance(t, Token)] == [
        ("s", "one"),
        ("t", "three"),
    ]


def test_the_last_token_says_why_and_what_it_cost() -> None:
    stage, _ = thinking("s")
    first, last = drain(stage, prompt("one two"))
    assert isinstance(first, Token)
    assert isinstance(last, Token)
    assert (first.finish, last.finish) == (None, "stop")
    assert (last.prompt_tokens, last.cached_tokens, last.output_tokens) == (7, 3, 2)
    assert last.speech is VOICE


def test_a_fence_stops_a_reply() -> None:
    stage, _ = thinking("s")
    stage.step([prompt("one two three")])
    assert drain(stage, Fence("s", 1, 0)) == []


def test_stable_words_are_prefilled_while_the_user_speaks() -> None:
    stage, core = thinking("s")
    drain(stage, prompt("", max_tokens=0, speech=None))
    for unit, stable in enumerate(("", "what is", "what is the weather")):
        heard = Heard("s", 0, unit, "turn", 1, stable + " x", stable, "en", is_final=False)
        assert drain(stage, heard) == []
    assert core.texts[1:] == ["what is", "what is the weather"]
    assert all(request.max_tokens == 0 for request in core.requests)
    drain(stage, Heard("s", 0, 3, "next turn", 2, "so", "so", "en", is_final=False))
    assert core.texts[-1] == "so"


def test_what_is_prefilled_follows_the_reply_before() -> None:
    stage, core = thinking("s")
    drain(stage, prompt("one two"))
    drain(stage, Heard("s", 0, 0, "turn", 1, "so x", "so", "en", is_final=False))
    assert core.requests[1].ids == (*core.requests[0].ids, len("onetwo"), len("so"))


def test_after_a_cut_reply_nothing_is_prefilled_until_it_is_known_what_was_heard() -> None:
    stage, core = thinking("s")
    stage.step([prompt("one two three")])
    drain(stage, Fence("s", 1, 0))
    drain(stage, Heard("s", 0, 0, "turn", 1, "so x", "so", "en", is_final=False))
    assert len(core.requests) == 1


def test_prefilling_never_disturbs_a_reply() -> None:
    stage, core = thinking("s")
    stage.step([prompt("one two three")])
    drain(stage, Heard("s", 0, 0, "turn", 1, "x", "x", "en", is_final=False))
    assert len(core.requests) == 1


def test_a_reply_is_continued_after_its_prefix() -> None:
    stage, core = thinking("s")
    drain(stage, prompt("one", prefix="four"))
    assert core.requests[0].ids[-1] == -4


def test_a_prompt_that_cannot_be_taken_is_reported_and_others_go_on() -> None:
    stage, _ = thinking("s", "t")
    out = drain(stage, prompt("refuse"), prompt("fine", "t"))
    assert [type(chunk) for chunk in out] == [StageReport, Token]
    assert "too long" in out[0].message  # type: ignore[attr-defined]


def test_a_closed_session_is_forgotten() -> None:
    stage, core = thinking("s")
    stage.close("s")
    stage.close("s")
    assert core.forgotten == ["s"]


class FakeWord(NamedTuple):
    text: str
    start_ms: int
    end_ms: int


class FakeUtterance(NamedTuple):
    samples: Samples
    words: tuple[FakeWord, ...]


class FakeVoice:
    """100 ms a word."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def synthesise(self, text: str, voice: str, speed: float) -> FakeUtterance:
        self.said.append(text)
        words = text.split()
        times = tuple(FakeWord(w, 100 * i, 100 * i + 100) for i, w in enumerate(words))
        return FakeUtterance(np.zeros(2400 * len(words), np.float32), times)


def speaking() -> tuple[SpeakStage, FakeVoice]:
    voice = FakeVoice()
    stage = SpeakStage(lambda: voice, lambda: ClauseSplitter(4, 14))
    stage.load()
    return stage, voice


def tokens(text: str, cuts: Sequence[int] = (), session_id: str = "s") -> list[Chunk]:
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    parts = [text[a:b] for a, b in pairwise(bounds)] or [""]
    return [
        Token(
            session_id,
            0,
            0,
            "r",
            i,
            part,
            VOICE,
            "stop" if i == len(parts) - 1 else None,
        )
        for i, part in enumerate(parts)
    ]


TEXTS = [
    "Sure, I can help. It is 3.14, or about 22/7; **nice**, isn't it?",
    "Hello!",
    "🙂",
    "",
    "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen.",
]


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 100), max_size=20))
def test_the_speech_of_a_reply_is_the_reply(text: str, cuts: list[int]) -> None:
    stage, _ = speaking()
    pieces = [chunk for chunk in drain(stage, *tokens(text, cuts)) if isinstance(chunk, Speech)]
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    for piece in pieces:
        length_ms = len(piece.samples) * 1000 // 24000
        if piece.words:
            assert [word.text for word in piece.words] == piece.text.split()
        starts = [word.start_ms for word in piece.words]
        assert starts == sorted(starts)
        assert all(0 <= word.start_ms <= word.end_ms <= length_ms for word in piece.words)


def test_the_first_clause_is_spoken_while_the_rest_is_written() -> None:
    stage, voice = speaking()
    parts = tokens("Sure, I can help you with that today.", range(100))
    for part in parts[:20]:
        drain(stage, part)
    assert voice.said
    assert len(voice.said[0].split()) <= 4


def test_the_session_that_has_heard_least_comes_first() -> None:
    stage, _ = speaking()
    long = "One, two. Three, four. Five, six. Seven, eight."
    first = stage.step(tokens(long)) + stage.step([])
    assert isinstance(first[1], Speech)
    out = stage.step(tokens("Hello there.", session_id="t")) + stage.step([])
    assert {chunk.session_id for chunk in out} == {"t"}
    assert any(isinstance(chunk, Speech) for chunk in out)


def test_the_writer_is_told_while_a_clause_is_waited_for() -> None:
    stage, _ = speaking()
    out = drain(stage, *tokens("One, two. Three, four. Five, six. Seven, eight."))
    told = [c.is_begun if isinstance(c, Voicing) else "speech" for c in out]
    assert told == [*([True, "speech", False] * URGENT_CLAUSES), "speech"]


def test_nothing_is_written_while_a_clause_is_waited_for() -> None:
    stage, _ = thinking("s", "t")
    stage.step([prompt("one two three")])
    assert stage.step([Voicing("t", 0, 0, is_begun=True)]) == []
    assert stage.has_work()
    assert len(stage.step([Voicing("t", 0, 0, is_begun=False)])) == 1
    stage.step([Voicing("s", 0, 0, is_begun=True)])
    assert drain(stage, prompt("four"))


def test_a_voice_that_died_does_not_silence_the_writer() -> None:
    stage, _ = thinking("s")
    assert drain(stage, prompt("one"), Voicing("s", 0, 0, is_begun=True))


def test_a_fence_drops_what_was_not_spoken_yet() -> None:
    stage, _ = speaking()
    stage.step(tokens("One, two. Three, four. Five, six."))
    assert drain(stage, Fence("s", 1, 0)) == []


def test_what_is_owed_is_said_and_then_the_reply_goes_on() -> None:
    stage, voice = speaking()
    out = drain(stage, Say("s", 1, 0, "r", "So I said", VOICE, False))
    out += drain(stage, *tokens(" that."))
    assert "".join(c.text for c in out if isinstance(c, Speech)) == "So I said that."
    assert voice.said


@pytest.mark.parametrize(
    ("text", "ends_ms"),
    [("2 cats", [100, 200]), ("$5.20 please", [500, 600]), ("Dr. Who", [100, 200]), ("ok", [100])],
)
def test_written_words_get_the_times_of_spoken_ones(text: str, ends_ms: list[int]) -> None:
    stage, voice = speaking()
    (piece,) = [c for c in drain(stage, *tokens(text)) if isinstance(c, Speech)]
    assert [word.text for word in piece.words] == text.split()
    assert [word.end_ms for word in piece.words] == ends_ms, voice.said


class FakeTranscript(NamedTuple):
    text: str
    language: str
    translation: str = ""


class FakeEar:
    """Hears one more word each time, and may change its mind about what was not agreed on."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.is_in_doubt = False

    def transcribe(self, samples: Samples, **given: Any) -> FakeTranscript:
        self.asked.append(given)
        if self.is_in_doubt:
            return FakeTranscript("", "en")
        words = [given["prefix"]] if given["prefix"] else []
        number = len(words[0].split()) if words else 0
        return FakeTranscript(" ".join([*words, *WORDS[number : len(samples)]]), "en")


WORDS = ["what", "is", "the", "weather", "like"]


def recognise(turn_id: str, length: int, session_id: str = "s", **changes: Any) -> Recognise:
    samples = np.zeros(length, np.float32)
    return Recognise(session_id, 0, 0, turn_id, samples, length, **{"is_final": False, **changes})


def hearing() -> tuple[HearStage, FakeEar]:
    stage = HearStage(Path(), 1, 8.0)
    ear = FakeEar()
    stage._whisper = ear  # type: ignore[assignment]
    return stage, ear


def test_words_that_were_published_are_never_taken_back() -> None:
    stage, ear = hearing()
    stables = []
    for length in range(1, 6):
        (heard,) = stage.step([recognise("t", length)])
        assert isinstance(heard, Heard)
        assert heard.text.startswith(heard.stable)
        stables.append(heard.stable)
    assert stables == ["", "what", "what is", "what is the", "what is the weather"]
    assert [asked["prefix"] for asked in ear.asked] == ["", *stables[:-1]]


def test_words_that_were_published_outlive_a_doubt() -> None:
    stage, ear = hearing()
    stage.step([recognise("t", 2)])
    stage.step([recognise("t", 3)])
    ear.is_in_doubt = True
    (heard,) = stage.step([recognise("t", 4, is_final=True)])
    assert isinstance(heard, Heard)
    assert heard.text == "what is"
    assert [asked["prefix"] for asked in ear.asked[-2:]] == ["what is", ""]


def test_a_new_turn_starts_afresh_but_in_the_language_spoken_before() -> None:
    stage, ear = hearing()
    stage.step([recognise("t", 2), recognise("t", 3)])
    stage.step([recognise("u", 3)])
    assert ear.asked[-1]["prefix"] == ""
    assert ear.asked[-1]["likely_language"] == "en"


def test_only_the_latest_request_of_a_session_is_answered_and_finished_turns_come_first() -> None:
    stage, _ = hearing()
    out = stage.step(
        [recognise("t", 1), recognise("t", 2), recognise("u", 3, "other", is_final=True)]
    )
    while stage.has_work():
        out += stage.step([])
    assert [(h.session_id, h.end_sample) for h in out if isinstance(h, Heard)] == [
        ("other", 3),
        ("s", 2),
    ]


def test_finished_turns_do_not_displace_each_other() -> None:
    stage, _ = hearing()
    out = stage.step(
        [recognise("t", 1), *(recognise(name, 2, is_final=True) for name in ("t", "u", "v"))]
    )
    while stage.has_work():
        out += stage.step([])
    assert [h.turn_id for h in out if isinstance(h, Heard)] == ["t", "u", "v"]
