"""The writer around a fake core: order, what is prefilled, and what is kept of a context."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from omni.chat import Message
from omni.errors import StageError
from omni.models.core import Request, Step
from omni.stages.think import ThinkStage
from omni.types import (
    Chunk,
    Fence,
    Heard,
    Prompt,
    Rest,
    SpeechOptions,
    StageReport,
    Token,
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


def drain(stage: ThinkStage, *chunks: Chunk) -> list[Chunk]:
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


def test_nothing_is_written_while_a_clause_is_waited_for() -> None:
    stage, _ = thinking("s", "t")
    stage.step([prompt("one two three")])
    assert stage.step([Rest("t", 0, 0, is_begun=True)]) == []
    assert stage.has_work()
    assert len(stage.step([Rest("t", 0, 0, is_begun=False)])) == 1
    stage.step([Rest("s", 0, 0, is_begun=True)])
    assert drain(stage, prompt("four"))


def test_a_voice_that_died_does_not_silence_the_writer() -> None:
    stage, _ = thinking("s")
    assert drain(stage, prompt("one"), Rest("s", 0, 0, is_begun=True))
