"""What came of each event of a performance, from its recording alone.

Definitions: tau-Voice for L_R, L_Y, R_Y and the selectivities, with Full-Duplex-Bench's merging of
gaps (0.5 s) for what counts as speaking; vLLM-Omni for continuity; OmniInteract for spill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from omni.dialog.lexicon import words_of
from omni.evaluation.outcomes import Outcomes
from omni.evaluation.recording import AUDIBLE, FRAME_SAMPLES, RATE_HZ, Recording
from omni.evaluation.script import Mark
from omni.evaluation.sounds import Kind
from omni.evaluation.unheard import num_unplayed
from omni.types import Samples

MERGED_S: Final = 0.5  # a shorter silence of the agent's is a pause, not an end
IGNORE_S: Final = 1.0  # whoever stops within this after a murmur has yielded to it
ANSWER_S: Final = 2.0  # whoever speaks within this after a tic in silence has answered it
# As in Full-Duplex-Bench v1: who falls silent again before either has not taken the turn.
TAKE_OVER_S: Final = 1.0
TAKE_OVER_WORDS: Final = 3
LONGEST_S: Final = 15.0  # longest latency looked for
DEFICIT_S: Final = 0.1
UNDER_WAY_S: Final = 0.2  # sound of a reply after the news of its end
AROUND_S: Final = 1.5  # after a sound of the user's, a pause of the agent's is deliberate
FRAME_S: Final = FRAME_SAMPLES / RATE_HZ


class Reading(NamedTuple):
    """What a recogniser made of a sound."""

    text: str
    decoded: str  # before its guards, which remove what was said twice, too


Transcribe = Callable[[Samples], Reading]
"""Of sound at 24 kHz."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """When the agent spoke: sorted (start_s, end_s), pauses shorter than 0.5 s included."""

    spans: tuple[tuple[float, float], ...]

    def at(self, time_s: float) -> tuple[float, float] | None:
        return next((span for span in self.spans if span[0] <= time_s < span[1]), None)

    def first_after(self, time_s: float) -> float | None:
        """The first beginning at or after a time."""
        return next((start for start, _ in self.spans if start >= time_s), None)


def spans_of(samples: Samples) -> Spans:
    size = len(samples) // FRAME_SAMPLES
    frames = np.abs(samples[: size * FRAME_SAMPLES].reshape(size, FRAME_SAMPLES)).max(axis=1)
    spans: list[tuple[float, float]] = []
    for index in np.flatnonzero(frames > AUDIBLE).tolist():
        start_s, end_s = index * FRAME_S, (index + 1) * FRAME_S
        if spans and start_s - spans[-1][1] <= MERGED_S:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))
    return Spans(tuple(spans))


class Panel:
    """Args:
    recording: both sides.
    marks: what the user did.
    transcribe: for what was heard of the replies; None leaves `unheard_words` None.
    """

    def __init__(
        self, recording: Recording, marks: Sequence[Mark], transcribe: Transcribe | None
    ) -> None:
        self._recording = recording
        self._marks = marks
        self._transcribe = transcribe
        self._spans = spans_of(recording.agent)

    def outcomes(self) -> Outcomes:
        """What came of each event."""
        interruptions = self._over_speech("interrupt")
        return Outcomes(
            yields_s=tuple(round(self._yield_s(mark), 3) for mark in interruptions),
            spills_s=tuple(round(self._spill_s(mark), 3) for mark in interruptions),
            responses_s=tuple(self._response_s(mark) for mark in self._of("question", "pause")),
            pause_sounds=tuple(self._in_pause(mark) is not None for mark in self._of("pause")),
            take_overs=tuple(self._takes_over(mark) for mark in self._of("pause")),
            backchannels=tuple(self._ignored("backchannel")),
            tics=tuple(self._ignored("tic")),
            side_talk=tuple(self._ignored("side")),
            replies=tuple(self._replies_whole()),
            unheard_words=self._unheard_words(),
        )

    def details(self) -> list[dict[str, Any]]:
        """One row for each thing the user did, for whoever wants to know which went wrong."""
        return [
            {"kind": mark.kind, "at_s": round(mark.start_s, 2), "over_speech": mark.over_speech,
             "outcome": self._outcome(mark)}
            for mark in self._marks
        ]  # fmt: skip

    # ---- one event

    def _outcome(self, mark: Mark) -> float | bool | None:
        """Seconds of latency, or whether it was ignored; None: nothing can be told."""
        if mark.kind in ("question", "pause"):
            return self._response_s(mark)
        if mark in self._over_speech(mark.kind):
            is_interruption = mark.kind == "interrupt"
            return self._yield_s(mark) if is_interruption else not self._yields_to(mark)
        return not self._answers(mark) if mark in self._in_silence(mark.kind) else None

    def _yield_s(self, mark: Mark) -> float:
        """From the start of an interruption to the agent's silence."""
        return self._silent_from(mark) - mark.start_s

    def _response_s(self, mark: Mark) -> float | None:
        """From the end of a question to the answer; 0 if the agent was ahead of it."""
        if self._spans.at(mark.end_s):
            return 0.0
        start_s = self._spans.first_after(mark.end_s)
        if start_s is None or start_s - mark.end_s > LONGEST_S:
            return None
        return start_s - mark.end_s

    def _in_pause(self, mark: Mark) -> tuple[float, float] | None:
        """What the agent said from the user's pause on, begun before the user had finished."""
        assert mark.pause_s is not None
        start_s = self._spans.first_after(mark.pause_s[0])
        return None if start_s is None or start_s >= mark.end_s else self._spans.at(start_s)

    def _takes_over(self, mark: Mark) -> bool:
        span = self._in_pause(mark)
        if span is None or span[1] - span[0] >= TAKE_OVER_S:
            return span is not None
        sound = self._recording.agent[int(span[0] * RATE_HZ) : int(span[1] * RATE_HZ)]
        heard = self._transcribe(sound).text if self._transcribe else ""
        return len(words_of(heard)) > TAKE_OVER_WORDS

    def _yields_to(self, mark: Mark) -> bool:
        span = self._spans.at(mark.start_s)
        fell_silent = span is not None and span[1] < mark.start_s + IGNORE_S
        return fell_silent or self._is_reply_ended(mark.start_s, mark.end_s + IGNORE_S, "cancelled")

    def _answers(self, mark: Mark) -> bool:
        start_s = self._spans.first_after(mark.start_s)
        return start_s is not None and start_s <= mark.end_s + ANSWER_S

    def _spill_s(self, mark: Mark) -> float:
        """Sound of the old reply after the user had said all of the interruption, or how long it
        took until it was not taken up again."""
        replies = self._recording.replies()
        ended_s = next((end for begun, end in replies if begun <= mark.start_s < end), 0.0)
        next_s = min(
            (begun for begun, _ in replies if begun >= ended_s), default=ended_s + UNDER_WAY_S
        )
        again_s = self._last_heard_s(min(ended_s + UNDER_WAY_S, next_s))
        return max(0.0, self._silent_from(mark) - mark.end_s, again_s - mark.end_s)

    def _silent_from(self, mark: Mark) -> float:
        """When the reply that was interrupted was last heard: a quick answer is not more of it."""
        span = self._spans.at(mark.start_s)
        if span is None:
            return mark.start_s
        begun = [at_s for at_s, _ in self._recording.replies() if mark.start_s < at_s < span[1]]
        if not begun:
            return span[1]
        return max(mark.start_s, self._last_heard_s(begun[0]))

    def _last_heard_s(self, until_s: float) -> float:
        """When the agent was last heard before then."""
        audible = np.flatnonzero(np.abs(self._recording.agent[: int(until_s * RATE_HZ)]) > AUDIBLE)
        return float(audible[-1] + 1) / RATE_HZ if len(audible) else 0.0

    # ---- classes of events

    def _of(self, *kinds: Kind) -> list[Mark]:
        return [mark for mark in self._marks if mark.kind in kinds]

    def _over_speech(self, kind: Kind) -> list[Mark]:
        """Sounds made while the agent was heard, and would have gone on being heard."""
        return [m for m in self._of(kind) if self._spans.at(m.start_s) and not self._is_tail(m)]

    def _in_silence(self, kind: Kind) -> list[Mark]:
        replies = self._recording.replies()
        return [
            mark
            for mark in self._of(kind)
            if not self._spans.at(mark.start_s)
            and not any(begun_s <= mark.start_s < ended_s for begun_s, ended_s in replies)
        ]

    def _ignored(self, kind: Kind) -> list[bool]:
        over = [not self._yields_to(mark) for mark in self._over_speech(kind)]
        if kind == "backchannel":  # in silence it is an answer
            return over
        return over + [not self._answers(mark) for mark in self._in_silence(kind)]

    def _is_tail(self, mark: Mark) -> bool:
        """The reply had just been said to its end: nobody can tell whether the agent yielded."""
        return self._is_reply_ended(mark.start_s - 0.5, mark.start_s + IGNORE_S, "completed")

    def _is_reply_ended(self, from_s: float, until_s: float, status: str) -> bool:
        return any(
            from_s <= at_s <= until_s
            for at_s, event in self._recording.events
            if event["type"] == "response.done" and event["response"]["status"] == status
        )

    def _unheard_words(self) -> int | None:
        """Words in the history of replies that were cut off which were not played to the user."""
        if self._transcribe is None:
            return None
        unheard, begun_s = 0, {}
        for at_s, event in self._recording.events:
            if event["type"] == "response.created":
                begun_s[event["response"]["id"]] = at_s
            elif event["type"] == "response.done" and _is_cut_off(event["response"]):
                start_s = begun_s.get(event["response"]["id"], at_s)
                sound = self._recording.agent[int(start_s * RATE_HZ) : int((at_s + 0.3) * RATE_HZ)]
                unheard += num_unplayed(_history_of(event), sound, self._decoded)
        return unheard

    def _decoded(self, sound: Samples) -> str:
        assert self._transcribe
        return self._transcribe(sound).decoded

    def _replies_whole(self) -> list[bool]:
        """Of each reply, whether a player never ran dry for 0.1 s."""
        return [
            not any(
                deficit_s > DEFICIT_S and not self._is_deliberate(at_s)
                for at_s, deficit_s in _deficits(self._recording.arrivals, reply)
            )
            for reply in self._recording.replies()
        ]

    def _is_deliberate(self, at_s: float) -> bool:
        return any(
            mark.start_s <= at_s <= mark.end_s + AROUND_S
            for mark in self._marks
            if mark.over_speech
        )


def _is_cut_off(response: dict[str, Any]) -> bool:
    reason = (response.get("status_details") or {}).get("reason")
    return bool(response["status"] == "cancelled" and reason == "turn_detected")


def _history_of(event: dict[str, Any]) -> str:
    parts = [part for item in event["response"]["output"] for part in item.get("content", [])]
    return " ".join(part.get("transcript") or part.get("text") or "" for part in parts)


def _deficits(
    arrivals: Sequence[tuple[float, float]], reply: tuple[float, float]
) -> list[tuple[float, float]]:
    """(when, how long) a player had nothing to play, from a reply's first sound to its last."""
    out: list[tuple[float, float]] = []
    end_s: float | None = None
    for at_s, duration_s in arrivals:
        if not reply[0] <= at_s <= reply[1]:
            continue
        if end_s is not None and at_s > end_s:
            out.append((at_s, at_s - end_s))
        end_s = max(end_s or at_s, at_s) + duration_s
    return out
