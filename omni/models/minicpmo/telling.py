"""The mouth in half duplex: an answer's words to sound, ten at a time.

Hides which windows of codes the vocoder is given, and what begins anew with an answer. Law: every
code of an answer is heard once, and the vocoder is flushed once. Source: MiniCPM-o 4.5.
"""

from omni.models.minicpmo.brain import Mouth
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.turns import HalfDuplexRule, TurnSpeaking, Voiced, Words
from omni.models.minicpmo.wishes import Emit, Say, Sound, Work


class Telling:
    def __init__(self, mouth: Mouth, rule: HalfDuplexRule) -> None:
        self.mouth = mouth
        self.rule = rule

    def begin(self, speaking: TurnSpeaking) -> None:
        """A new answer: nothing of an earlier one is left in speech model or vocoder."""
        speaking.context.clear()
        speaking.stream.reset()
        silence = self.mouth.vocoder.silence_code if self.mouth.vocoder else 0
        speaking.window = [silence] * self.mouth.speech.lookahead
        speaking.codes, speaking.fresh = [], []
        speaking.num_words = speaking.num_voiced = 0

    def say(self, speaking: TurnSpeaking, words: Words) -> Work[None]:
        """Say the next words; emits every window as `Voiced`, the last with the last words."""
        speech = self.mouth.speech
        speaking.num_words += len(words.ids)
        if speaking.num_words:
            is_end = words.finish == "stop"
            marks = [speech.text_eos_id, speech.audio_bos_id] if is_end else [speech.audio_bos_id]
            condition = self.mouth.talker.model.condition(words.ids, words.states, marks)
            if speaking.context.room < len(condition) + speech.chunk_codes:
                speaking.context.clear()  # an answer longer than the speech LM can remember
            most = min(self.rule.max_condition_codes, speaking.context.room - len(condition))
            source, codes = speaking.source, speaking.codes
            order = SpeechOrder(speaking.context, condition, codes, 0, most, source)
            speaking.fresh += yield Say(order, self.rule.speech)
            yield from self._windows(speaking)
        if words.finish and speaking.codes:
            codes_left = (*speaking.window, *speaking.fresh)
            samples = yield Sound(speaking.stream, codes_left, is_last=True)
            yield Emit(Voiced(samples.cpu(), len(speaking.codes), is_last=True))

    def _windows(self, speaking: TurnSpeaking) -> Work[None]:
        """What fills a window, with its look-ahead left for the next one."""
        speech = self.mouth.speech
        size = speech.chunk_codes + speech.lookahead
        while len(speaking.fresh) >= speech.chunk_codes:
            speaking.window += speaking.fresh[: speech.chunk_codes]
            speaking.fresh = speaking.fresh[speech.chunk_codes :]
            if len(speaking.window) >= size:
                window = tuple(speaking.window[:size])
                samples = yield Sound(speaking.stream, window, is_last=False)
                speaking.window = speaking.window[speech.chunk_codes :]
                speaking.num_voiced += speech.chunk_codes
                yield Emit(Voiced(samples.cpu(), speaking.num_voiced, is_last=False))
