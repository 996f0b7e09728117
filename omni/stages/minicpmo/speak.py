"""The mouth: a unit's words to sound, in the voice the session began with.

Hides where a reply begins to be heard: its first piece is filled up with silence to a whole unit
and a cushion, so that units which take unlike long leave no gap. Laws: `text` pieces joined are the
reply; after a fence nothing of an earlier reply is left in speech model or vocoder.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from omni.errors import AssetError
from omni.models.minicpmo.brain import Mouth
from omni.models.minicpmo.cloning import Cloner
from omni.models.minicpmo.hift import seeded_noise
from omni.models.minicpmo.memory import check_room
from omni.models.minicpmo.sampling import greedy, seeded
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.telling import Telling
from omni.models.minicpmo.token2wav import Stream, Token2Wav
from omni.models.minicpmo.turns import HalfDuplexRule
from omni.models.minicpmo.unit import DuplexRule, Speaking
from omni.models.minicpmo.voicing import Voicing
from omni.models.minicpmo.wishes import Emit, Work
from omni.stages.minicpmo.lane import Lane, Task
from omni.stages.minicpmo.timbres import Timbres
from omni.stages.minicpmo.utterances import RATE_HZ, Utterances, words_in
from omni.stages.minicpmo.voices import CODES_A_S, Voices
from omni.types import Chunk, Fence, Samples, Speech, StageName, StageReport, frozen_array
from omni.units import VOICE_UNUSABLE, AnswerWords, BeginContext, UnitWords

log = logging.getLogger(__name__)

UNIT_SAMPLES = RATE_HZ


@dataclass(slots=True, eq=False)
class _Session:
    """`begun`: whose voice it has; its stream is begun with its first words."""

    speaking: Speaking
    begun: BeginContext | None = None
    response_id: str = ""
    num_pieces: int = 0

    @property
    def num_bytes(self) -> int:
        """Of the vocoder's state; before the first words it is the voice's own."""
        stream = self.speaking.stream
        return stream.state.num_bytes if isinstance(stream, Stream) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Organs:
    """What speaks: the speech model, the vocoder that makes its codes audible, and, where there is
    one, who takes a voice from a recording."""

    mouth: Mouth
    vocoder: Token2Wav
    cloner: Cloner | None = None


class SpeakStage:
    """Args:
    make_organs: loads the models; called on the worker thread.
    rule: how sessions behave.
    voices: what a name sounds like.
    cushion_ms: silence before a reply, beyond a whole unit.
    half: how sessions behave in half duplex.
    """

    name: StageName = "speak"

    def __init__(
        self,
        make_organs: Callable[[], Organs],
        rule: DuplexRule,
        voices: Voices,
        cushion_ms: int,
        half: HalfDuplexRule,
    ) -> None:
        self._make_organs = make_organs
        self._rule, self._half = rule, half
        self._voices = voices
        self._cushion_samples = cushion_ms * RATE_HZ // 1000
        self._sessions: dict[str, _Session] = {}
        self._reports: list[Chunk] = []

    def load(self) -> None:
        self._organs = organs = self._make_organs()
        self._timbres = Timbres(organs.vocoder, self._voices, organs.cloner)
        self._voicing = Voicing(self._organs.mouth, self._rule)
        self._utterances = Utterances(Telling(self._organs.mouth, self._half))
        self._lane = Lane(self.name, self._organs.mouth)
        self._warm_up()

    def open(self, session_id: str) -> None:
        """Raises SessionCapacity if there is no slot, or no memory left on the device."""
        vocoder = self._organs.vocoder
        prompt_frames = self._voices.max_prompt_s * CODES_A_S * vocoder.dims.encoder.stride
        held = [session.num_bytes for session in self._sessions.values()]
        check_room(vocoder.device, vocoder.session_bytes(prompt_frames), held)
        context = self._organs.mouth.talker.open()
        self._sessions[session_id] = _Session(Speaking(context, None, seeded(0)))

    def close(self, session_id: str) -> None:
        self._lane.cancel(session_id)
        self._utterances.forget(session_id)
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
                    self._utterances.forget(chunk.session_id)
                    self._voicing.interrupt(session.speaking)
                case UnitWords():
                    self._lane.add(self._task(session, chunk))
                case AnswerWords():
                    self._lane.add(self._answer_task(session, chunk))
        out = self._lane.step()
        reports, self._reports = self._reports, []
        return reports + out

    def _warm_up(self) -> None:
        """A word of nobody's, so that the first session's is not the slowest."""
        mouth = self._organs.mouth
        session = _Session(Speaking(mouth.talker.open(), None, greedy))
        self._begin(session, BeginContext("", 0, 0, "", "", 0))
        self._find_voice(session)
        size = mouth.talker.model.projector_semantic.linear1.in_features
        say = self._voicing.say(session.speaking, (0,), torch.zeros(1, size), is_turn_end=True)
        run(mouth, say)
        session.speaking.context.close()

    def _begin(self, session: _Session, begun: BeginContext) -> None:
        self._lane.cancel(begun.session_id)
        session.begun = begun
        session.speaking = Speaking(session.speaking.context, None, seeded(begun.seed + 1))
        self._voicing.interrupt(session.speaking)
        if fault := self._voices.fault(begun.voice):
            self._refuse(session, begun, fault)
        else:
            self._timbres.read_ahead(begun.voice)

    def _refuse(self, session: _Session, begun: BeginContext, fault: str) -> None:
        """Go on in the plain voice, and say why."""
        log.warning("a voice cannot be used", extra={"session": begun.session_id})
        stamp = (begun.session_id, begun.epoch, begun.unit_index)
        self._reports.append(StageReport(*stamp, self.name, "failed", fault, VOICE_UNUSABLE))
        session.begun = replace(begun, voice="")

    def _find_voice(self, session: _Session) -> None:
        """Begin the stream, if it is not begun."""
        begun = session.begun
        if session.speaking.stream is not None or begun is None:
            return
        try:
            voice = self._timbres.voice(begun.voice)
        except AssetError as error:
            self._refuse(session, begun, error.message)
            voice = self._timbres.voice("")
        noise = seeded_noise(self._organs.vocoder.hift.dims, begun.seed)
        session.speaking.stream = Stream(voice, noise)
        self._voicing.quieten(session.speaking)

    def _task(self, session: _Session, words: UnitWords) -> Task:
        def work() -> Work[None]:
            self._find_voice(session)
            states = torch.tensor(words.states)
            _, samples = yield from self._voicing.say(
                session.speaking, words.token_ids, states, is_turn_end=words.is_turn_end
            )
            yield Emit(samples.numpy())

        return Task(words, work, lambda samples: [self._piece(session, words, samples)])

    def _answer_task(self, session: _Session, words: AnswerWords) -> Task:
        def work() -> Work[None]:
            self._find_voice(session)
            yield from self._utterances.say(words, session.speaking)

        return Task(words, work, lambda speech: [speech])

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
            words_in(words.text, before, len(samples)),
            words.is_turn_end,
        )
