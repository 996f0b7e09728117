"""The ear around a fake one: which words are published, and whose turn comes first."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from omni.stages.hear import HearStage
from omni.types import (
    Heard,
    Recognise,
    Samples,
)


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
