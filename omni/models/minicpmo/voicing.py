"""A unit's words to sound: the speech LM's chunk, and the vocoder's windows.

Hides when a window is worth a call, and what begins anew with a turn. Source: MiniCPM-o 4.5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omni.models.minicpmo.brain import Mouth
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.unit import DuplexRule, Speaking
from omni.models.minicpmo.wishes import Say, Sound, Work

_FIRST_WINDOW = 8  # codes worth a vocoder call when a turn begins to be spoken


class Voicing:
    def __init__(self, mouth: Mouth, rule: DuplexRule) -> None:
        self.mouth = mouth
        self.rule = rule

    def say(
        self, speaking: Speaking, ids: Sequence[int], states: Tensor, *, is_turn_end: bool
    ) -> Work[tuple[tuple[int, ...], Tensor]]:
        """Speak a unit's words; at the end of a turn, all that is left.

        Args:
            states: of the words, each at its own position. [n, D]

        Returns:
            The new speech codes, and samples at 24 kHz. [n]
        """
        is_start = len(speaking.context) == 0
        speech = self.mouth.speech
        condition = self.mouth.talker.model.condition(ids, states, [speech.audio_bos_id])
        if speaking.context.room < len(condition) + speech.chunk_codes:
            speaking.context.clear()  # a turn longer than it can remember goes on afresh
        order = SpeechOrder(
            speaking.context,
            condition,
            recent=[],
            min_codes=0 if is_turn_end or is_start else speech.chunk_codes,
            max_codes=speech.chunk_codes,
            source=speaking.source,
            is_last_fed=True,
        )
        codes = yield Say(order, self.rule.speech)
        speaking.codes += codes
        sounds = yield from self._sound(speaking, is_start=is_start, is_end=is_turn_end)
        if is_turn_end:
            speaking.context.clear()
            self.quieten(speaking)
        samples = torch.cat([torch.zeros(0), *(sound.cpu() for sound in sounds)])
        return tuple(codes), samples

    def interrupt(self, speaking: Speaking) -> None:
        """Forget the speech that was under way."""
        self.quieten(speaking)
        if not self.rule.is_as_released:
            speaking.context.clear()

    def quieten(self, speaking: Speaking) -> None:
        """Make the vocoder ready for a new turn: it begins by looking ahead over silence."""
        if speaking.stream is None or self.mouth.vocoder is None:
            return
        speaking.stream.reset()
        speaking.codes = [self.mouth.vocoder.silence_code] * self.mouth.speech.lookahead

    def _sound(self, speaking: Speaking, *, is_start: bool, is_end: bool) -> Work[list[Tensor]]:
        """Vocode what is worth a window, with its look-ahead left for the next one."""
        speech = self.mouth.speech
        worth = _FIRST_WINDOW if is_start else self.rule.min_window
        sounds = []
        while len(speaking.codes) >= worth:
            codes = tuple(speaking.codes[: speech.chunk_codes + speech.lookahead])
            sounds.append((yield Sound(speaking.stream, codes, is_last=False)))
            taken = min(speech.chunk_codes, len(codes) - speech.lookahead)
            speaking.codes = speaking.codes[taken:]
        if is_end and speaking.codes:
            sounds.append((yield Sound(speaking.stream, tuple(speaking.codes), is_last=True)))
        return sounds
