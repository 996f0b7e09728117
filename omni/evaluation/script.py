"""A seeded user who asks, pauses, murmurs, coughs, talks to others and interrupts, in that order.

Performs on a recorded line and notes what was done when; judges nothing.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from omni.evaluation.recording import Recording
from omni.evaluation.sounds import Kind, Repertoire, Sound

WARM_UP_S: Final = 1.0
POLL_S: Final = 0.05
HEARD_S: Final = 0.2
QUIET_S: Final = 1.0
HEEDED_S: Final = 2.0  # time to heed an interruption, after its end
IN_SILENCE: Final = 0.4  # of the rounds end with a sound that is to be left alone
INTO_REPLY_S: Final = 2.2  # of the reply before the first sound over it
BETWEEN_S: Final = 3.2
ANSWER_S: Final = 15.0  # longest wait for a reply
AFTER_S: Final = 2.4  # a sound in silence may be answered so late
MAX_ROUNDS_PER_EVENT: Final = 3
OVER_SPEECH: Final[tuple[Kind, ...]] = ("backchannel", "tic", "side")


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A sound of the user's: when it was made, and whether the agent was speaking then."""

    kind: Kind
    start_s: float
    end_s: float
    over_speech: bool
    pause_s: tuple[float, float] | None = None


class Performance:
    """Args:
    recording: a line to the agent, standing.
    repertoire: what there is to say.
    events: how often each kind of sound is to be made.
    seed: of the order.
    """

    def __init__(
        self, recording: Recording, repertoire: Repertoire, events: int, seed: int
    ) -> None:
        self.marks: list[Mark] = []
        self._recording = recording
        self._repertoire = repertoire
        self._events = events
        self._rng = np.random.default_rng(seed)
        self._due: deque[Kind] = deque()

    async def play(self) -> list[Mark]:
        """The whole script; returns what was done."""
        kinds = np.array([kind for kind in OVER_SPEECH for _ in range(self._events)])
        self._due.extend(self._rng.permutation(kinds).tolist())
        await asyncio.sleep(WARM_UP_S)
        for round_number in range(MAX_ROUNDS_PER_EVENT * self._events):
            done = Counter(mark.kind for mark in self.marks if mark.over_speech)
            if not self._due and done["interrupt"] >= self._events:
                break
            await self._round("pause" if round_number % 3 else "question")
        return self.marks

    async def _round(self, asking: Kind) -> None:
        question = await self._make(asking)
        if not await self._until_heard(question.end_s):
            await self._silence()
            return
        await asyncio.sleep(INTO_REPLY_S)
        for _ in range(2):
            if self._due and await self._until_heard(self._recording.now_s):
                kind = self._due.popleft()
                if not (await self._make(kind)).over_speech:
                    self._due.append(kind)
                await asyncio.sleep(BETWEEN_S)
        if await self._until_heard(self._recording.now_s):
            await self._make("interrupt")
            await asyncio.sleep(HEEDED_S)
        await self._silence()
        if self._rng.random() < IN_SILENCE:
            await self._make("tic" if self._rng.random() < 0.5 else "side")
            await asyncio.sleep(AFTER_S)
            await self._silence()

    async def _make(self, kind: Kind) -> Mark:
        """Make a sound, and wait until it has been made."""
        sound: Sound = self._repertoire.next(kind)
        over_speech = self._is_speaking
        start_s = self._recording.say(sound.samples)
        end_s = start_s + sound.duration_s
        pause_s = sound.pause_s and (start_s + sound.pause_s[0], start_s + sound.pause_s[1])
        mark = Mark(kind, start_s, end_s, over_speech, pause_s)
        self.marks.append(mark)
        await asyncio.sleep(max(0.0, end_s - self._recording.now_s))
        return mark

    @property
    def _is_speaking(self) -> bool:
        return self._recording.is_agent_heard(HEARD_S)

    async def _until_heard(self, since_s: float) -> bool:
        """Wait for the agent to speak, and to have spoken after `since_s`; False if it does not."""
        while self._recording.now_s < since_s + ANSWER_S:
            await asyncio.sleep(POLL_S)
            if self._recording.now_s > since_s + HEARD_S:
                if self._is_speaking:
                    return True
                if self._recording.now_s > since_s + 3 and not self._recording.is_reply_under_way:
                    return False
        return False

    async def _silence(self) -> None:
        """Have the agent stop, and wait until it has."""
        for _ in range(int(ANSWER_S / POLL_S)):
            if self._recording.is_reply_under_way:
                self._recording.commands.put_nowait({"type": "response.cancel"})
                await asyncio.sleep(0.5)
            elif not self._recording.is_agent_heard(QUIET_S):
                return
            await asyncio.sleep(POLL_S)
