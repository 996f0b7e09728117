"""Sound to embeddings, a second at a time, each session after what it heard before.

Law: what is made of a unit depends on its session's earlier units alone, never on its neighbours.
"""

from collections.abc import Callable, Sequence

import torch

from omni.models.minicpmo.brain import Ears
from omni.models.minicpmo.memory import check_room
from omni.models.minicpmo.perceiving import hear
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.unit import UNIT_SAMPLES, Hearing
from omni.models.minicpmo.wishes import Emit, HearClip, Work
from omni.stages.minicpmo.lane import Lane, Task
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, Samples, StageName, frozen_array
from omni.units import BeginContext, SoundEmbeddings, UnitSound


class HearStage:
    """Args:
    make_ears: loads the encoder; called on the worker thread.
    voices: whose clips a context may begin with.
    """

    name: StageName = "hear"

    def __init__(self, make_ears: Callable[[], Ears], voices: Voices) -> None:
        self._make_ears = make_ears
        self._voices = voices
        self._sessions: dict[str, Hearing] = {}

    def load(self) -> None:
        self._ears = self._make_ears()
        self._lane = Lane(self.name, self._ears)
        run(self._ears, hear(Hearing(), torch.zeros(UNIT_SAMPLES)))

    def open(self, session_id: str) -> None:
        """Raises SessionCapacity if the device has no memory left for what it will hear."""
        held = [hearing.past.num_bytes for hearing in self._sessions.values()]
        check_room(self._ears.device, self._ears.ear.session_bytes, held)
        self._sessions[session_id] = Hearing()

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
                case UnitSound():
                    self._lane.add(self._unit(chunk, self._sessions[chunk.session_id]))
        return self._lane.step()

    def _begin(self, chunk: BeginContext) -> None:
        self._lane.cancel(chunk.session_id)
        self._sessions[chunk.session_id] = Hearing()
        if not self._voices.has_clip(chunk.voice):
            return

        def work() -> Work[None]:
            clip = self._voices.clip(chunk.voice)
            yield Emit((yield HearClip(clip, self._ears.chunk_s)))

        self._lane.add(
            Task(
                chunk, work, lambda rows: [SoundEmbeddings(*_stamp(chunk), "reference", _out(rows))]
            )
        )

    def _unit(self, chunk: UnitSound, hearing: Hearing) -> Task:
        def work() -> Work[None]:
            yield Emit((yield from hear(hearing, torch.from_numpy(chunk.samples.copy()))))

        return Task(chunk, work, lambda rows: [SoundEmbeddings(*_stamp(chunk), "unit", _out(rows))])


def _stamp(chunk: Chunk) -> tuple[str, int, int]:
    return chunk.session_id, chunk.epoch, chunk.unit_index


def _out(rows: torch.Tensor) -> Samples:
    return frozen_array(rows.float().cpu().numpy())
