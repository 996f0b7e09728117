"""The mouth in half duplex: an answer's words to sound, ten at a time.

Hides which windows of codes the vocoder is given, and what begins anew with an answer. Law: every
code of an answer is heard once, and the vocoder is flushed once. Source: MiniCPM-o 4.5.
"""

from omni.models.minicpmo.brain import Mouth
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.turns import HalfDuplexRule, Utterance, Voiced, Words
from omni.models.minicpmo.unit import Speaking
from omni.models.minicpmo.wishes import Emit, Say, Sound, Work


class Telling:
    def __init__(self, mouth: Mouth, rule: HalfDuplexRule) -> None:
        self.mouth = mouth
        self.rule = rule

    def begin(self, speaking: Speaking) -> Utterance:
        """A new answer: nothing of an earlier one is left in speech model or vocoder."""
        speaking.context.clear()
        if speaking.stream is not None:
            speaking.stream.reset()
        silence = self.mouth.vocoder.silence_code if self.mouth.vocoder else 0
        return Utterance(speaking, [silence] * self.mouth.speech.lookahead)

    def say(self, utterance: Utterance, words: Words) -> Work[None]:
        """Say the next words; emits every window as `Voiced`, the last with the last words."""
        utterance.num_words += len(words.ids)
        if utterance.num_words:
            order = self._order(utterance, words)
            utterance.fresh += yield Say(order, self.rule.speech)
            yield from self._windows(utterance)
        if words.finish and utterance.codes:
            left = (*utterance.window, *utterance.fresh)
            samples = yield Sound(utterance.speaking.stream, left, is_last=True)
            yield Emit(Voiced(samples.cpu(), len(utterance.codes), is_last=True))

    def _order(self, utterance: Utterance, words: Words) -> SpeechOrder:
        speech, context = self.mouth.speech, utterance.speaking.context
        marks = (speech.text_eos_id,) if words.finish == "stop" else ()
        marks = (*marks, speech.audio_bos_id)
        condition = self.mouth.talker.model.condition(words.ids, words.states, marks)
        if context.room < len(condition) + speech.chunk_codes:
            context.clear()  # an answer longer than the speech LM can remember
        most = min(self.rule.max_condition_codes, context.room - len(condition))
        return SpeechOrder(context, condition, utterance.codes, 0, most, utterance.speaking.source)

    def _windows(self, utterance: Utterance) -> Work[None]:
        """What fills a window, with its look-ahead left for the next one."""
        speech = self.mouth.speech
        size = speech.chunk_codes + speech.lookahead
        while len(utterance.fresh) >= speech.chunk_codes:
            utterance.window += utterance.fresh[: speech.chunk_codes]
            utterance.fresh = utterance.fresh[speech.chunk_codes :]
            if len(utterance.window) >= size:
                window = tuple(utterance.window[:size])
                samples = yield Sound(utterance.speaking.stream, window, is_last=False)
                utterance.window = utterance.window[speech.chunk_codes :]
                utterance.num_voiced += speech.chunk_codes
                yield Emit(Voiced(samples.cpu(), utterance.num_voiced, is_last=False))
