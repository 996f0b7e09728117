"""Full duplex in one process: each second the model hears and sees, then listens or speaks.

Joins what a server's stages do each on their own (`perceiving`, `deciding`, `voicing`); what it
does next is work for a scheduler. Parity and figures are taken from this.
"""

import torch

from omni.models.minicpmo.brain import Brain
from omni.models.minicpmo.deciding import Choice, Deciding
from omni.models.minicpmo.perceiving import hear, unit_groups
from omni.models.minicpmo.sampling import Source
from omni.models.minicpmo.unit import (
    DuplexRule,
    DuplexSession,
    Hearing,
    Speaking,
    SystemPrompt,
    UnitInput,
    UnitOutput,
)
from omni.models.minicpmo.voicing import Voicing
from omni.models.minicpmo.wishes import Emit, HearClip, See, SpeechStream, Work


class Duplex:
    def __init__(self, brain: Brain, rule: DuplexRule) -> None:
        self.brain = brain
        self.rule = rule
        self.deciding = Deciding(brain.mind, rule)
        self.voicing = Voicing(brain.mouth, rule)

    def open(
        self, prompt: SystemPrompt, stream: SpeechStream | None, decision: Source, speech: Source
    ) -> Work[DuplexSession]:
        """Start a session: its system prompt, with the voice to speak in.

        Raises:
            SessionCapacity: all contexts are in use.
        """
        reference = None
        if prompt.reference is not None:
            reference = yield HearClip(prompt.reference, self.brain.config.audio_chunk_s)
        context = self.brain.llm.open()
        try:
            speaking = Speaking(self.brain.talker.open(), stream, speech)
        except Exception:
            context.close()
            raise
        self.voicing.quieten(speaking)
        texts = (prompt.prefix, prompt.suffix)
        try:
            thinking = yield from self.deciding.begin(context, texts, reference, decision)
        except BaseException:
            context.close()
            speaking.context.close()
            raise
        return DuplexSession(Hearing(), thinking, speaking)

    def unit(self, session: DuplexSession, unit: UnitInput) -> Work[UnitOutput]:
        """Hear and see one second, then listen or speak.

        Raises:
            StageError: the context is full.
        """
        pictures = []
        for picture, max_slices in unit.pictures:
            pictures.append((yield See(picture, max_slices)))
        sound = None
        if unit.samples is not None:
            sound = yield from hear(session.hearing, unit.samples)
        groups = unit_groups(self.deciding.ids, pictures, sound)
        choice = yield from self.deciding.choose(
            session.thinking, groups, is_listen_forced=unit.is_listen_forced
        )
        if choice.is_interrupted:
            self.voicing.interrupt(session.speaking)
        output = yield from self._speak(session, choice)
        yield Emit(output)
        yield from self.deciding.close(session.thinking, choice)
        return output

    def _speak(self, session: DuplexSession, choice: Choice) -> Work[UnitOutput]:
        codes: tuple[int, ...] = ()
        samples = torch.zeros(0)
        is_silent = choice.is_listen and not choice.is_turn_end
        if self.rule.is_spoken and not is_silent:
            codes, samples = yield from self.voicing.say(
                session.speaking,
                choice.ids,
                self.deciding.stacked(choice),
                is_turn_end=choice.is_turn_end,
            )
        text = self.brain.tokens.decode(choice.ids)
        return UnitOutput(choice.is_listen, choice.is_turn_end, choice.ids, text, codes, samples)
