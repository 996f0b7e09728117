"""The mouth: a unit's words to sound, in the voice the session began with.

Hides where a reply begins to be heard: its first piece is filled up with silence to a whole unit
and a cushion, so that units which take unlike long leave no gap. Laws: `text` pieces joined are the
reply; after a fence nothing of an earlier reply is left in speech model or vocoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from omni.models.minicpmo.brain import Mouth
from omni.models.minicpmo.hift import seeded_noise
from omni.models.minicpmo.sampling import greedy, seeded
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.token2wav import Stream, Token2Wav
from omni.models.minicpmo.unit import DuplexRule, Speaking
from omni.models.minicpmo.voice import Voice
from omni.models.minicpmo.voicing import Voicing
from omni.models.minicpmo.wishes import Emit, Work
from omni.stages.minicpmo.lane import Lane, Task
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, Fence, Samples, Speech, StageName, Word, frozen_array
from omni.units import BeginContext, UnitWords

RATE_HZ = 24000
UNIT_SAMPLES = RATE_HZ


@dataclass(slots=True, eq=False)
class _Session:
    speaking: Speaking
    response_id: str = ""
    num_pieces: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Organs:
    """What speaks: the speech model, and the vocoder that makes its codes audible."""

    mouth: Mouth
    vocoder: Token2Wav
    voices: dict[str, Voice] = field(default_factory=dict)  # those read so far


class SpeakStage:
    """Args:
    make_organs: loads the models; called on the worker thread.
    rule: how sessions behave.
    voices: what a name sounds like.
    cushion_ms: silence before a reply, beyond a whole unit.
    """

    name: StageName = "speak"

    def __init__(
        self,
        make_organs: Callable[[], Organs],
        rule: DuplexRule,
        voices: Voices,
        cushion_ms: int,
    ) -> None:
        self._make_organs = make_organs
        self._rule = rule
        self._voices = voices
        self._cushion_samples = cushion_ms * RATE_HZ // 1000
        self._sessions: dict[str, _Session] = {}

    def load(self) -> None:
        self._organs = self._make_organs()
        self._voicing = Voicing(self._organs.mouth, self._rule)
        self._lane = Lane(self.name, self._organs.mouth)
        self._warm_up()

    def open(self, session_id: str) -> None:
        context = self._organs.mouth.talker.open()
        self._sessions[session_id] = _Session(Speaking(context, None, seeded(0)))

    def close(self, session_id: str) -> None:
        self._lane.cancel(session_id)
        if session := self._sessions.pop(session_id, None):
            session.speaking.context.close()

    def has_work(self) -> bool:
        return self._lane.has_work

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            session = self._sessions[chunk.session_id]
            match chunk:
                case BeginContext():
                    self._begin(session, chunk)
                case Fence():
                    self._lane.cancel(chunk.session_id)
                    self._voicing.interrupt(session.speaking)
                case UnitWords():
                    self._lane.add(self._task(session, chunk))
        return self._lane.step()

    def _warm_up(self) -> None:
        """A word of nobody's, so that the first session's is not the slowest."""
        mouth = self._organs.mouth
        session = _Session(Speaking(mouth.talker.open(), None, greedy))
        self._begin(session, BeginContext("", 0, 0, "", "", 0))
        size = mouth.talker.model.projector_semantic.linear1.in_features
        say = self._voicing.say(session.speaking, (0,), torch.zeros(1, size), is_turn_end=True)
        run(mouth, say)
        session.speaking.context.close()

    def _begin(self, session: _Session, begun: BeginContext) -> None:
        self._lane.cancel(begun.session_id)
        organs, context = self._organs, session.speaking.context
        name = self._voices.known(begun.voice)
        if name not in organs.voices:
            prompt = self._voices.prompt(name, organs.vocoder.dims)
            organs.voices[name] = organs.vocoder.voice(prompt)
        noise = seeded_noise(organs.vocoder.hift.dims, begun.seed)
        stream = Stream(organs.voices[name], noise)
        session.speaking = Speaking(context, stream, seeded(begun.seed + 1))
        self._voicing.interrupt(session.speaking)

    def _task(self, session: _Session, words: UnitWords) -> Task:
        def work() -> Work[None]:
            states = torch.tensor(words.states)
            _, samples = yield from self._voicing.say(
                session.speaking, words.token_ids, states, is_turn_end=words.is_turn_end
            )
            yield Emit(samples.numpy())

        return Task(words, work, lambda samples: [self._piece(session, words, samples)])

    def _piece(self, session: _Session, words: UnitWords, samples: Samples) -> Speech:
        if words.response_id != session.response_id:
            session.response_id, session.num_pieces = words.response_id, 0
        before = 0
        if session.num_pieces == 0:
            missing = 0 if words.is_turn_end else max(0, UNIT_SAMPLES - len(samples))
            before = missing + self._cushion_samples
        session.num_pieces += 1
        silence = np.zeros(before, np.float32)
        return Speech(
            words.session_id,
            words.epoch,
            words.unit_index,
            words.response_id,
            session.num_pieces - 1,
            frozen_array(np.concatenate([silence, samples])),
            words.text,
            _words(words.text, before, len(samples)),
            words.is_turn_end,
        )


def _words(text: str, start_samples: int, num_samples: int) -> tuple[Word, ...]:
    """Where the words of a piece lie in its sound, by their letters: the model tells no times."""
    written = text.split()
    letters = sum(map(len, written))
    start_ms, length_ms = (n * 1000 // RATE_HZ for n in (start_samples, num_samples))
    words, done = [], 0
    for word in written:
        begins = start_ms + length_ms * done // letters
        done += len(word)
        words.append(Word(word, begins, start_ms + length_ms * done // letters))
    return tuple(words)
