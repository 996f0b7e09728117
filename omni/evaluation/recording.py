"""Both sides of a conversation on one clock: the user's samples, as they leave the microphone.

What the agent says stands where a player would play it that plays what comes as it comes.
"""

import asyncio
from typing import Any, Final

import numpy as np

from omni.types import Samples

RATE_HZ: Final = 24000
FRAME_SAMPLES: Final = RATE_HZ // 50
AUDIBLE: Final = 0.005  # of full scale
BUFFER_S: Final = 0.06  # what a player of a stream holds
MAX_BUFFER_S: Final = 0.2


class Recording:
    """Grows by 20 ms with every `next_frame`; a sample's index over 24000 is its time in s."""

    def __init__(self) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []  # (arrived_s, event)
        self.commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()  # to the server
        self.arrivals: list[tuple[float, float]] = []  # (arrived_s, duration_s) of agent sound
        self._user: list[Samples] = []
        self._agent = np.zeros(RATE_HZ * 60, np.float32)  # doubled when full
        self._agent_end = 0
        self._num_under_way = 0  # replies
        self._coming = np.zeros(0, np.float32)  # what the user is about to say

    @property
    def now_s(self) -> float:
        return len(self._user) * FRAME_SAMPLES / RATE_HZ

    @property
    def user(self) -> Samples:
        """float32 [n] at 24 kHz."""
        return np.concatenate(self._user) if self._user else np.zeros(0, np.float32)

    @property
    def agent(self) -> Samples:
        """float32 [n] at 24 kHz, as long as `user`."""
        return self._played(0)

    def say(self, samples: Samples) -> float:
        """Let the user say something, over what is being said already; returns when, in s."""
        size = max(len(self._coming), len(samples))
        self._coming = np.pad(self._coming, (0, size - len(self._coming)))
        self._coming[: len(samples)] += samples
        return self.now_s

    def next_frame(self) -> Samples:
        """The microphone's next 20 ms, float32 [480] at 24 kHz."""
        frame, self._coming = self._coming[:FRAME_SAMPLES], self._coming[FRAME_SAMPLES:]
        frame = np.pad(frame, (0, FRAME_SAMPLES - len(frame)))
        self._user.append(frame)
        return frame

    def play(self, samples: Samples) -> None:
        """Sound of the agent has arrived, float32 [n] at 24 kHz."""
        self.arrivals.append((self.now_s, len(samples) / RATE_HZ))
        start = max(self._agent_end, len(self._user) * FRAME_SAMPLES)
        self._agent_end = start + len(samples)
        while len(self._agent) < self._agent_end:
            self._agent = np.concatenate([self._agent, np.zeros_like(self._agent)])
        self._agent[start : self._agent_end] = samples

    def stream(self, samples: Samples) -> None:
        """The same for a stream that never pauses: a player behind it skips silence to catch up."""
        ahead_s = self._agent_end / RATE_HZ - self.now_s
        is_silent = bool(np.abs(samples).max(initial=0) < AUDIBLE)
        if ahead_s < BUFFER_S or (ahead_s < MAX_BUFFER_S and not is_silent):
            self.play(samples)

    def cut(self) -> None:
        """Stop playing: what has not been played is dropped."""
        kept = min(self._agent_end, len(self._user) * FRAME_SAMPLES)
        self._agent[kept : self._agent_end] = 0
        self._agent_end = kept

    def note(self, event: dict[str, Any]) -> None:
        self.events.append((self.now_s, event))
        self._num_under_way += event["type"] == "response.created"
        self._num_under_way -= event["type"] == "response.done"

    @property
    def is_reply_under_way(self) -> bool:
        """A reply has been announced that has not been reported done."""
        return self._num_under_way > 0

    def replies(self) -> list[tuple[float, float]]:
        """(announced_s, done_s) of each reply; one that never ended ends with the recording."""
        begun: dict[str, float] = {}
        ended: dict[str, float] = {}
        for at_s, event in self.events:
            if event["type"] == "response.created":
                begun[event["response"]["id"]] = at_s
            elif event["type"] == "response.done":
                ended[event["response"]["id"]] = at_s
        return [(at_s, ended.get(name, self.now_s)) for name, at_s in begun.items()]

    def is_agent_heard(self, within_s: float) -> bool:
        """Whether the agent made a sound in the last `within_s`."""
        recent = self._played(max(0, len(self._user) * FRAME_SAMPLES - int(within_s * RATE_HZ)))
        return bool(np.abs(recent).max(initial=0) > AUDIBLE)

    def _played(self, start: int) -> Samples:
        """What was played from a sample until now."""
        end = len(self._user) * FRAME_SAMPLES
        played = self._agent[start:end]
        return np.pad(played, (0, end - start - len(played)))
