"""Whisper on CTranslate2: what was said, in which language, and whether anything was said at all.

Hides the reduced encoder window, windows of long sound, and the guards against invented text: a
looping hypothesis is searched for again, and one that is not speech comes back empty.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import ctranslate2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from omni.errors import ProtocolError
from omni.models.embedded.mel import HOP_SAMPLES, RATE_HZ, log_mel

MAX_WINDOW_S = 30.0
TAIL_S = 1.5  # silence the encoder needs after the last word; with less, the decoder loops
MIN_SPEECH_S = 0.1
LIKELY_LANGUAGE_WEIGHT = 4  # one word alone is often taken for another language

# As in openai/whisper, transcribe.py, but stricter, for here no second window corrects what this
# one invents: one limit is enough, and the first is lower (docs/notes-hear.md has the figures).
# A text that repeats itself is a loop only if it also never ended: people do repeat themselves.
MAX_NO_SPEECH, SURE_LOGPROB = 0.4, -0.3  # ten seconds of clear speech can pass the first
MIN_LOGPROB = -1.0
DOUBTFUL_NO_SPEECH, DOUBTFUL_LOGPROB = 0.3, -0.5  # either alone is speech, both together are not
MAX_COMPRESSION = 2.4
MIN_REPEATED_WORDS, MIN_REPEATED_LETTERS = 6, 20  # a short window's decoder says so much twice

# Nobody says five tokens over again in so short a time; the decoder does, without an end, and what
# it then takes 0.8 s to say is nothing ("wait, wait" over our speech).
SHORT_S, NO_REPEAT_TOKENS = 3.0, 5

_MAX_TOKENS = 224  # half of the decoder's positions
_MAX_PROMPT_TOKENS = 112
_TOKENS_PER_S = 15
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f"  # scripts without spaces between words
_WORD = re.compile(rf"\s*(?:[{_IDEOGRAPH}]|[^\s{_IDEOGRAPH}]+)")


@dataclass(frozen=True, slots=True, eq=False)
class Transcript:
    """What was recognised; `text` is empty where `is_speech` is false.

    Seen on the recordings under tests/media: speech, also over noise 10 dB below it, has a
    no-speech probability under 0.35 and a mean log probability over -0.95, or one over -0.2; barks,
    coughs, silence, noise and babble fail one of the limits.
    """

    text: str
    language: str  # ISO 639-1, or Whisper's own code where there is none
    language_probability: float  # 1 where the caller named the language
    no_speech_probability: float
    mean_logprob: float  # per token, natural logarithm
    is_loop: bool  # the text repeats itself and never ended
    translation: str = ""  # in English, if it was asked for
    decoded: str = ""  # before any guard: words of a noise, and what was said twice, too

    @property
    def is_speech(self) -> bool:
        is_doubtful = (
            self.no_speech_probability > DOUBTFUL_NO_SPEECH and self.mean_logprob < DOUBTFUL_LOGPROB
        )
        is_sure = self.mean_logprob >= SURE_LOGPROB
        return (
            (is_sure or self.no_speech_probability <= MAX_NO_SPEECH)
            and self.mean_logprob >= MIN_LOGPROB
            and not is_doubtful
            and not self.is_loop
        )


class _Hypothesis(NamedTuple):
    text: str
    no_speech_probability: float
    mean_logprob: float
    is_loop: bool


class Whisper:
    """The recogniser, for one thread at a time; it keeps nothing between calls."""

    def __init__(self, folder: Path, num_threads: int) -> None:
        """`folder` holds model.bin, config.json, tokenizer.json and vocabulary.txt."""
        self._model = ctranslate2.models.Whisper(
            str(folder), compute_type="int8", intra_threads=num_threads, inter_threads=1
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._ids = self._tokenizer.get_vocab(with_added_tokens=True)
        codes = (_LANGUAGE.fullmatch(token) for token in self._ids)
        self.languages = frozenset(code[1] for code in codes if code)

    def warm_up(self) -> None:
        self.transcribe(np.zeros(RATE_HZ, np.float32))

    def transcribe(
        self,
        samples: NDArray[np.float32],
        language: str | None = None,
        likely_language: str | None = None,
        prefix: str = "",
        prompt: str = "",
        context_s: float = 8.0,
        translate_to: str | None = None,
    ) -> Transcript:
        """Recognise speech, float32 [n] at 16 kHz; more than 28.5 s goes in several windows.

        Args:
            language: a code of `languages`; None detects it.
            likely_language: what the speaker spoke before, taken where detection is in doubt.
            prefix: the beginning of the text, which is then taken as said (`stable_prefix`).
            prompt: names and terms to expect.
            context_s: the encoder's window, at least; it grows with the speech.
            translate_to: `en`, the one language that it can; any other is left.

        Raises:
            ProtocolError: no such language.
        """
        if language is not None and language not in self.languages:
            raise ProtocolError(f"language: no such language {language!r}", param="language")
        if len(samples) < MIN_SPEECH_S * RATE_HZ:
            return Transcript("", language or "en", 0.0, 1.0, 0.0, is_loop=False)
        parts: list[Transcript] = []
        for window in _windows(samples):
            encoded = self._encode(window, context_s)
            detected = None if language else self._detect(encoded, likely_language)
            found, probability = detected or (language or "", 1.0)
            ids = self._prompt_ids(found, prompt), self._text_ids(prefix)
            best = self._search(encoded, *ids, len(window) / RATE_HZ)
            part = _guarded(best.text, Transcript("", found, probability, *best[1:]))
            translation = self._translate(encoded, part) if translate_to == "en" else ""
            parts.append(replace(part, translation=translation))
            language, prefix = found, ""
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _translate(self, encoded: ctranslate2.StorageView, part: Transcript) -> str:
        """A part's words in English; with a beam, which makes better sentences."""
        if part.language == "en" or not part.text:
            return part.text
        prompt = self._prompt_ids(part.language, "", "translate")
        max_tokens = min(_MAX_TOKENS, 16 + 2 * len(self._text_ids(part.text)))
        best = self._decode(encoded, prompt, [], max_tokens, beam_size=5)
        return "" if best.is_loop else said_once(best.text).strip()

    def _encode(self, window: NDArray[np.float32], context_s: float) -> ctranslate2.StorageView:
        """[n] to [1, window_s * 50, 512]."""
        window_s = min(MAX_WINDOW_S, max(context_s, len(window) / RATE_HZ + TAIL_S))
        num_samples = int(window_s * RATE_HZ / HOP_SAMPLES / 2) * 2 * HOP_SAMPLES
        features = log_mel(np.pad(window, (0, num_samples - len(window))))
        return self._model.encode(ctranslate2.StorageView.from_array(features[None]))

    def _detect(self, encoded: ctranslate2.StorageView, likely: str | None) -> tuple[str, float]:
        found = {token[2:-2]: p for token, p in self._model.detect_language(encoded)[0]}
        weights = {likely: LIKELY_LANGUAGE_WEIGHT}
        best = max(found, key=lambda language: found[language] * weights.get(language, 1))
        return best, found[best]

    def _prompt_ids(self, language: str, prompt: str, task: str = "transcribe") -> list[int]:
        before = [self._ids["<|startofprev|>"], *self._text_ids(prompt)[:_MAX_PROMPT_TOKENS]]
        head = ("<|startoftranscript|>", f"<|{language}|>", f"<|{task}|>", "<|notimestamps|>")
        return (before if prompt else []) + [self._ids[token] for token in head]

    def _text_ids(self, text: str) -> list[int]:
        """Ids of ordinary words; what looks like a control token in `text` is left out."""
        if not text.strip():
            return []
        encoding = self._tokenizer.encode(" " + text.strip(), add_special_tokens=False)
        return [token for token in encoding.ids if token < self._ids["<|endoftext|>"]]

    def _search(
        self,
        encoded: ctranslate2.StorageView,
        prompt: list[int],
        said: list[int],
        duration_s: float,
    ) -> _Hypothesis:
        """Greedy; with a beam, which costs a little more, where that loops."""
        max_tokens = min(_MAX_TOKENS, int(16 + duration_s * _TOKENS_PER_S))
        no_repeat = NO_REPEAT_TOKENS if duration_s <= SHORT_S else 0
        greedy = self._decode(encoded, prompt, said, max_tokens, 1, no_repeat)
        if not greedy.is_loop:
            return greedy
        return self._decode(encoded, prompt, said, max_tokens, 5, no_repeat)

    def _decode(
        self,
        encoded: ctranslate2.StorageView,
        prompt: list[int],
        said: list[int],
        max_tokens: int,
        beam_size: int,
        no_repeat_tokens: int = 0,
    ) -> _Hypothesis:
        # CTranslate2 returns `said` with the rest, scores the rest alone, and takes as limit
        # min(max_length / 2, max_length - len(prompt)).
        (result,) = self._model.generate(
            encoded,
            [prompt + said],
            beam_size=beam_size,
            no_repeat_ngram_size=no_repeat_tokens,
            max_length=max_tokens + max(max_tokens, len(prompt)),
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = [id for id in result.sequences_ids[0] if id < self._ids["<|endoftext|>"]]
        text = self._tokenizer.decode(tokens)
        num_scored = max(0, len(tokens) - len(said)) + 1  # and the end of the text
        mean_logprob = result.scores[0] * len(result.sequences_ids[0]) / num_scored
        is_loop = len(tokens) >= max_tokens and _compression(text) > MAX_COMPRESSION
        return _Hypothesis(text, result.no_speech_prob, mean_logprob, is_loop)


def _guarded(text: str, part: Transcript) -> Transcript:
    """The part with what is to be believed of the decoded text."""
    text = text.strip()
    return replace(part, text=said_once(text) if part.is_speech else "", decoded=text)


def stable_prefix(previous: str, current: str) -> str:
    """The beginning of `current` that two hypotheses in a row agree on.

    Agreement is by whole words, case and punctuation aside, and what ends the last word is left
    open; publish nothing else of a hypothesis, for a published word cannot be taken back
    (LocalAgreement-2, Liu et al. 2020, https://arxiv.org/abs/2005.11185).
    """
    agreed = ""
    for old, new in zip(_WORD.findall(previous), _WORD.findall(current), strict=False):
        if _bare(old) != _bare(new):
            break
        agreed += new
    while agreed and _is_mark(agreed[-1]):
        agreed = agreed[:-1]
    return agreed.lstrip()


def said_once(text: str) -> str:
    """Without its end where that only repeats the words before: a decoder that missed the end."""
    words = _WORD.findall(text)
    bare = [_bare(word.strip()) for word in words]
    for length in range(len(words) // 2, MIN_REPEATED_WORDS - 1, -1):
        last, before = bare[-length:], bare[-2 * length : -length]
        if last == before and len("".join(last)) >= MIN_REPEATED_LETTERS:
            return "".join(words[:-length])
    return text


def _compression(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _bare(word: str) -> str:
    return "".join(letter for letter in word.casefold() if not _is_mark(letter))


def _is_mark(letter: str) -> bool:
    """Punctuation or space; not the vowel signs of Indic scripts, which a regex counts as such."""
    return unicodedata.category(letter)[0] in "PZ"


def _windows(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Pieces the encoder can hold with their tail, cut where it is quietest."""
    longest = int((MAX_WINDOW_S - TAIL_S) * RATE_HZ)
    step = RATE_HZ // 10
    while len(samples) > longest:
        late = samples[longest - 5 * RATE_HZ : longest].reshape(-1, step)
        quietest = int(np.argmin((late**2).sum(axis=1)))
        cut = longest - 5 * RATE_HZ + quietest * step + step // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


def _joined(parts: list[Transcript]) -> Transcript:
    """Windows as one; the numbers are those of the window most surely speech."""
    best = min(parts, key=lambda part: (not part.is_speech, part.no_speech_probability))
    return Transcript(
        " ".join(part.text for part in parts if part.text),
        parts[0].language,
        parts[0].language_probability,
        best.no_speech_probability,
        best.mean_logprob,
        best.is_loop,
        " ".join(part.translation for part in parts if part.translation),
        " ".join(part.decoded for part in parts if part.decoded),
    )
