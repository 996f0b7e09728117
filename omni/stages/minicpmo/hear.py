"""Sound to embeddings, a second at a time, each session after what it heard before.

Law: what is made of a unit depends on its session's earlier units alone, never on its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from omni.models.minicpmo.brain import Ears
from omni.models.minicpmo.mel import MelStream
from omni.models.minicpmo.memory import check_room
from omni.models.minicpmo.perceiving import hear, hear_turn
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.turns import TurnHearing
from omni.models.minicpmo.unit import UNIT_SAMPLES, Hearing
from omni.models.minicpmo.wishes import Emit, HearClip, Work
from omni.stages.minicpmo.lane import Lane, Task
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, Samples, StageName, frozen_array
from omni.units import BeginContext, Respond, SoundEmbeddings, UnitSound


@dataclass(frozen=True, slots=True, eq=False)
class Manner:
    """How sound is heard: what is kept between seconds, and whether a clip is seen as a whole or
    second by second."""

    new: Callable[[], Any]
    hear: Callable[[Any, torch.Tensor], Work[torch.Tensor]]
    is_clip_whole: bool


FULL_DUPLEX = Manner(Hearing, hear, is_clip_whole=False)
HALF_DUPLEX = Manner(lambda: TurnHearing(MelStream(0)), hear_turn, is_clip_whole=True)


class HearStage:
    """Args:
    make_ears: loads the encoder; called on the worker thread.
    voices: whose clips a context may begin with.
    manner: full or half duplex.
    """

    name: StageName = "hear"

    def __init__(self, make_ears: Callable[[], Ears], voices: Voices, manner: Manner) -> None:
        self._make_ears = make_ears
        self._voices = voices
        self._manner = manner
        self._sessions: dict[str, Any] = {}

    def load(self) -> None:
        self._ears = self._make_ears()
        self._lane = Lane(self.name, self._ears)
        run(self._ears, self._manner.hear(self._manner.new(), torch.zeros(UNIT_SAMPLES)))

    def open(self, session_id: str) -> None:
        """Raises SessionCapacity if the device has no memory left for what it will hear."""
        held = [hearing.past.num_bytes for hearing in self._sessions.values()]
        check_room(self._ears.device, self._ears.ear.session_bytes, held)
        self._sessions[session_id] = self._manner.new()

    def close(self, session_id: str) -> None:
        self._lane.cancel(session_id)
        self._sessions.pop(session_id, None)

    def has_work(self) -> bool:
        return self._lane.has_work

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            match chunk:
                case BeginContext():
                    self._begin(chunk)
                case Respond():  # what comes next is another turn's
                    self._sessions[chunk.session_id] = self._manner.new()
                case UnitSound():
                    self._lane.add(self._unit(chunk, self._sessions[chunk.session_id]))
        return self._lane.step()

    def _begin(self, chunk: BeginContext) -> None:
        self._lane.cancel(chunk.session_id)
        self._sessions[chunk.session_id] = self._manner.new()
        if not self._voices.has_clip(chunk.voice):
            return

        def work() -> Work[None]:
            clip = self._voices.clip(chunk.voice)
            chunk_s = None if self._manner.is_clip_whole else self._ears.chunk_s
            yield Emit((yield HearClip(clip, chunk_s)))

        self._lane.add(
            Task(
                chunk, work, lambda rows: [SoundEmbeddings(*_stamp(chunk), "reference", _out(rows))]
            )
        )

    def _unit(self, chunk: UnitSound, hearing: Any) -> Task:
        def work() -> Work[None]:
            yield Emit(
                (yield from self._manner.hear(hearing, torch.from_numpy(chunk.samples.copy())))
            )

        return Task(chunk, work, lambda rows: [SoundEmbeddings(*_stamp(chunk), "unit", _out(rows))])


def _stamp(chunk: Chunk) -> tuple[str, int, int]:
    return chunk.session_id, chunk.epoch, chunk.unit_index


def _out(rows: torch.Tensor) -> Samples:
    return frozen_array(rows.float().cpu().numpy())
