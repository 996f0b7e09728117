"""The brain's stages without a runtime: chunks go round until nobody has work left."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from omni.config import OmniConfig, load
from omni.stages.base import Stage
from omni.stages.build import build_stage
from omni.types import DESTINATIONS, Chunk, Samples, StageName, frozen_array
from omni.units import BeginContext, Chosen, UnitPlan, UnitSound

PACK = Path(__file__).parents[2] / "golden" / "minicpmo45-tiny"
STAGES: tuple[StageName, ...] = ("hear", "see", "think", "speak")
SEED = 7


def tiny(*overrides: str) -> OmniConfig:
    """The profile on the tiny checkpoint, so that a random model both listens and speaks."""
    return load(
        "minicpm-o",
        [
            f"brain.checkpoint={PACK}",
            "brain.think.context_tokens=2048",
            "brain.duplex.window.high_rows=1000",
            "brain.duplex.window.low_rows=800",
            "brain.duplex.window.patience_rows=500",
            f"brain.duplex.seed={SEED}",
            "brain.duplex.listen_scale=0.6",
            "brain.duplex.length_penalty=0.5",
            "brain.duplex.is_staggered=false",
            *overrides,
        ],
    )


def recording() -> Samples:
    """42 s of the pack's sound, float32 at 16 kHz."""
    with np.load(PACK / "inputs" / "inputs.npz") as inputs:
        return np.asarray(inputs["audio_stream"].astype(np.float32) / 32768)


def second(index: int) -> Samples:
    sound = recording()
    start = index * 16000 % (len(sound) - 16000)
    return frozen_array(sound[start : start + 16000].copy())


class Flow:
    def __init__(self, config: OmniConfig, names: Iterable[StageName] = STAGES) -> None:
        self.stages: dict[str, Stage] = {name: build_stage(config, name) for name in names}
        for stage in self.stages.values():
            stage.load()

    def open(self, session_id: str, seed: int = SEED, voice: str = "") -> list[Chunk]:
        for stage in self.stages.values():
            stage.open(session_id)
        return self.run([self.begun(session_id, 0, voice, seed)])

    @staticmethod
    def begun(session_id: str, first_unit: int, voice: str = "", seed: int = SEED) -> BeginContext:
        return BeginContext(session_id, 0, first_unit, "Talk.", voice, seed)

    def close(self, session_id: str) -> None:
        for stage in self.stages.values():
            stage.close(session_id)

    def run(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """What reaches the gateway."""
        told: list[Chunk] = []
        moving = list(chunks)
        while moving or any(stage.has_work() for stage in self.stages.values()):
            inboxes: dict[str, list[Chunk]] = {name: [] for name in self.stages}
            for chunk in moving:
                for receiver in DESTINATIONS[type(chunk)]:
                    if receiver == "gateway":
                        told.append(chunk)
                    elif receiver in inboxes:
                        inboxes[receiver].append(chunk)
            moving = []
            for name, stage in self.stages.items():
                if inboxes[name] or stage.has_work():
                    moving += stage.step(inboxes[name])
        return told

    def unit(self, session_id: str, index: int, *, is_forced: bool = False) -> list[Chunk]:
        return self.run(unit(session_id, index, is_forced=is_forced))


def unit(
    session_id: str, index: int, epoch: int = 0, *, is_forced: bool = False
) -> tuple[UnitPlan, UnitSound]:
    stamp = (session_id, epoch, index)
    return UnitPlan(*stamp, 0, "", is_forced, is_spoken=True), UnitSound(*stamp, second(index))


def chosen(chunks: Iterable[Chunk]) -> list[Chosen]:
    return [chunk for chunk in chunks if isinstance(chunk, Chosen)]
