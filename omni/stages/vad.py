"""Voice activity and end of turn: the two small models that must answer at once.

Kept apart from the recogniser, so that its half second of work never delays the notice that the
user has begun to speak. Law: a stream's probabilities do not depend on how its sound was chunked.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omni.models.embedded.silero import WINDOW_SAMPLES, Silero, VadState
from omni.models.embedded.smart_turn import SmartTurn
from omni.types import Activity, AudioChunk, Chunk, JudgeTurn, Samples, StageName, TurnHint


class _Stream:
    def __init__(self) -> None:
        self.state = VadState.fresh()
        self.rest: Samples = np.zeros(0, np.float32)
        self.position = 0  # sample at which `rest` begins


class VadStage:
    """Args:
    vad_path: Silero's ONNX file.
    turn_path: smart-turn's ONNX file.
    """

    name: StageName = "vad"

    def __init__(self, vad_path: Path, turn_path: Path) -> None:
        self._paths = vad_path, turn_path
        self._streams: dict[str, _Stream] = {}

    def load(self) -> None:
        vad_path, turn_path = self._paths
        self._silero = Silero(vad_path)
        self._smart_turn = SmartTurn(turn_path, num_threads=1)
        self._silero.warm_up()
        self._smart_turn.warm_up()

    def open(self, session_id: str) -> None:
        self._streams[session_id] = _Stream()

    def close(self, session_id: str) -> None:
        self._streams.pop(session_id, None)

    def has_work(self) -> bool:
        return False

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        # The turn judge takes 0.1 s, so it comes after all sound has been looked at, and of one
        # session only its latest question is worth an answer.
        out: list[Chunk] = []
        questions: dict[str, JudgeTurn] = {}
        for chunk in chunks:
            match chunk:
                case AudioChunk():
                    out += self._follow(self._streams[chunk.session_id], chunk)
                case JudgeTurn():
                    questions[chunk.session_id] = chunk
        return out + [self._judge(question) for question in questions.values()]

    def _follow(self, stream: _Stream, chunk: AudioChunk) -> list[Chunk]:
        if chunk.start_sample != stream.position + len(stream.rest):  # sound was lost on the way
            stream.rest, stream.position = np.zeros(0, np.float32), chunk.start_sample
        sound = np.concatenate([stream.rest, chunk.samples])
        out: list[Chunk] = []
        while len(sound) >= WINDOW_SAMPLES:
            window, sound = sound[:WINDOW_SAMPLES], sound[WINDOW_SAMPLES:]
            probability, stream.state = self._silero.step(stream.state, window)
            stream.position += WINDOW_SAMPLES
            out.append(
                Activity(
                    chunk.session_id,
                    chunk.epoch,
                    chunk.unit_index,
                    stream.position,
                    probability,
                )
            )
        stream.rest = sound
        return out

    def _judge(self, question: JudgeTurn) -> Chunk:
        return TurnHint(
            question.session_id,
            question.epoch,
            question.unit_index,
            question.turn_id,
            question.end_sample,
            self._smart_turn.probability(question.samples),
        )
