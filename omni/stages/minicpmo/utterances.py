"""Answers in half duplex on their way from words to sound, of all sessions.

Hides how a text of ten words is spread over windows of a second. Law: the last piece of an answer
says so, even where nothing was to be heard.
"""

import numpy as np
import torch

from omni.models.minicpmo.telling import Telling
from omni.models.minicpmo.turns import Utterance, Voiced, Words
from omni.models.minicpmo.unit import Speaking
from omni.models.minicpmo.wishes import Emit, Work, relay
from omni.stages.minicpmo.captions import Captions
from omni.types import Samples, Speech, Word, frozen_array
from omni.units import AnswerWords

RATE_HZ = 24000


class _Spoken:
    """One answer."""

    def __init__(self, response_id: str, utterance: Utterance) -> None:
        self.response_id = response_id
        self.utterance = utterance
        self.captions = Captions()
        self.num_pieces = 0
        self.is_ended = False


class Utterances:
    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._spoken: dict[str, _Spoken] = {}

    def forget(self, session_id: str) -> None:
        """What was being said will not go on."""
        self._spoken.pop(session_id, None)

    def say(self, words: AnswerWords, speaking: Speaking) -> Work[None]:
        """Say some words of an answer; emits its sound as `Speech`."""
        spoken = self._spoken.get(words.session_id)
        if spoken is None or spoken.response_id != words.response_id:
            spoken = _Spoken(words.response_id, self._telling.begin(speaking))
            self._spoken[words.session_id] = spoken
        codes, is_told = spoken.utterance.codes, False
        start = len(codes)

        def piece(voiced: Voiced) -> Work[None]:
            nonlocal is_told
            if not is_told:
                is_told = True
                spoken.captions.add(words.text, start, len(codes))
            yield Emit(_piece(words, spoken, voiced.samples.numpy(), voiced))

        said = Words(words.token_ids, torch.tensor(words.states), words.finish)
        yield from relay(self._telling.say(spoken.utterance, said), piece)
        if not is_told:
            spoken.captions.add(words.text, start, len(codes))
        if words.finish and not spoken.is_ended:
            nothing = Voiced(torch.zeros(0), len(codes), is_last=True)
            yield Emit(_piece(words, spoken, nothing.samples.numpy(), nothing))


def _piece(words: AnswerWords, spoken: _Spoken, samples: Samples, voiced: Voiced) -> Speech:
    captions = spoken.captions
    text = captions.rest() if voiced.is_last else captions.take(voiced.num_codes)
    spoken.num_pieces += 1
    spoken.is_ended = voiced.is_last
    return Speech(
        words.session_id,
        words.epoch,
        words.unit_index,
        words.response_id,
        spoken.num_pieces - 1,
        frozen_array(samples.astype(np.float32)),
        text,
        words_in(text, 0, len(samples)),
        voiced.is_last,
    )


def words_in(text: str, start_samples: int, num_samples: int) -> tuple[Word, ...]:
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
