"""Text into speech, clause by clause, ahead of what is being heard.

Hides where a reply is cut into clauses and how spoken words are matched to written ones. Laws: the
`text` of a reply's speech, joined, is the reply; the session that is silent longest is served next;
the writer is told when a clause is being waited for.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from omni.dialog.clauses import ClauseSplitter
from omni.dialog.spoken import spoken, word_ends
from omni.types import (
    Chunk,
    Fence,
    Rest,
    Samples,
    Say,
    Speech,
    SpeechOptions,
    StageName,
    Token,
    Word,
    frozen_array,
)

URGENT_CLAUSES = 3  # of a reply; what has been heard by then covers the rest
# Whoever begins to speak while still thinking speaks slower: the clauses that are followed most
# closely last longer than they take to make. Nobody hears a twelfth.
SLOW_CLAUSES, SLOW_START = 2, 0.92
LANGUAGES = {
    "a": "en",
    "b": "en",
    "e": "es",
    "f": "fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt",
    "z": "zh",
}


class SpokenWord(Protocol):
    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...


class Utterance(Protocol):
    @property
    def samples(self) -> Samples: ...  # [n] at 24 kHz
    @property
    def words(self) -> Sequence[SpokenWord]: ...


class Synthesiser(Protocol):
    """A voice: plain words in, sound and the times of the words out."""

    def synthesise(self, text: str, voice: str, speed: float) -> Utterance: ...


@dataclass(slots=True, eq=False)
class _Reply:
    """A reply being spoken: what waits to be, in order."""

    head: Chunk  # the first chunk of it, for its stamp
    response_id: str
    speech: SpeechOptions
    splitter: ClauseSplitter
    clauses: deque[str] = field(default_factory=deque)
    is_written: bool = False
    num_pieces: int = 0
    is_announced: bool = False  # the next piece, to the writer, which rests

    @property
    def is_urgent(self) -> bool:
        """Silence waits for the next clause, or would if it were late."""
        return self.num_pieces < URGENT_CLAUSES and bool(self.clauses)

    @property
    def tempo(self) -> float:
        """Of the next piece. What is all there is spoken as fast as was asked for."""
        is_followed = self.clauses or not self.is_written
        is_slow = self.num_pieces < SLOW_CLAUSES and is_followed
        return self.speech.speed * (SLOW_START if is_slow else 1)

    def rest(self, *, is_begun: bool) -> Rest:
        self.is_announced = is_begun
        head = self.head
        return Rest(head.session_id, head.epoch, head.unit_index, is_begun)

    def pause(self) -> None:
        """Nothing more is written for a while: what there is can be said."""
        self.clauses.extend(self.splitter.finish())


class SpeakStage:
    """Args:
    make_synthesiser: loads the voice; called on the worker thread.
    make_splitter: a fresh cutter of clauses, one per reply.
    """

    name: StageName = "speak"

    def __init__(
        self,
        make_synthesiser: Callable[[], Synthesiser],
        make_splitter: Callable[[], ClauseSplitter],
    ) -> None:
        self._make_synthesiser = make_synthesiser
        self._make_splitter = make_splitter
        self._replies: dict[str, _Reply] = {}  # by session

    def load(self) -> None:
        self._voice = self._make_synthesiser()

    def open(self, session_id: str) -> None:
        """Nothing to prepare: the reply brings its voice."""

    def close(self, session_id: str) -> None:
        self._replies.pop(session_id, None)

    def has_work(self) -> bool:
        return any(_is_due(reply) for reply in self._replies.values())

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            match chunk:
                case Fence():
                    self._replies.pop(chunk.session_id, None)
                case Say():
                    self._add(chunk, chunk.speech, chunk.text, chunk.is_last)
                case Token(speech=SpeechOptions() as speech):
                    self._add(chunk, speech, chunk.text, chunk.finish is not None)
                    if chunk.is_pause:
                        self._replies[chunk.session_id].pause()
        due = [reply for reply in self._replies.values() if _is_due(reply)]
        if not due:
            return []
        reply = min(due, key=lambda r: r.num_pieces)
        if reply.is_urgent and not reply.is_announced:
            return [reply.rest(is_begun=True)]  # and so the writer leaves the cores to the voice
        out: list[Chunk] = [piece := self._speak(reply)]
        if reply.is_announced:
            out.append(reply.rest(is_begun=False))
        if piece.is_last:
            del self._replies[reply.head.session_id]
        return out

    def _add(self, chunk: Say | Token, speech: SpeechOptions, text: str, is_last: bool) -> None:
        reply = self._replies.get(chunk.session_id)
        if reply is None or reply.response_id != chunk.response_id:
            reply = _Reply(chunk, chunk.response_id, speech, self._make_splitter())
            self._replies[chunk.session_id] = reply
        reply.clauses.extend(reply.splitter.feed(text))
        if is_last:
            reply.pause()
            reply.is_written = True

    def _speak(self, reply: _Reply) -> Speech:
        text = reply.clauses.popleft() if reply.clauses else ""
        language = _language(reply.speech.voice)
        words = spoken(text, language)
        if words:
            said = self._voice.synthesise(words, reply.speech.voice, reply.tempo)
            samples, times = said.samples, _match(text, language, said.words)
        else:
            samples, times = frozen_array(np.zeros(0, np.float32)), ()
        reply.num_pieces += 1
        head = reply.head
        return Speech(
            head.session_id,
            head.epoch,
            head.unit_index,
            reply.response_id,
            reply.num_pieces - 1,
            samples,
            text,
            times,
            is_last=reply.is_written and not reply.clauses,
        )


def _is_due(reply: _Reply) -> bool:
    return bool(reply.clauses) or reply.is_written


def _language(voice: str) -> str:
    """ISO 639-1 code of the language a voice was trained on; its name's first letter tells."""
    return LANGUAGES.get(voice[:1], "en")


def _match(text: str, language: str, said: Sequence[SpokenWord]) -> tuple[Word, ...]:
    """Times for the words as written, from the words as spoken ("3" is written, "three" spoken).

    A written word that is not spoken (a dash) ends where the one before it does.
    """
    if not said:
        return ()
    words, first, end_ms = [], 0, 0
    for written, end in zip(text.split(), word_ends(text, language), strict=True):
        spoken_words = said[first : min(end, len(said))]
        start_ms = spoken_words[0].start_ms if spoken_words else end_ms
        end_ms = spoken_words[-1].end_ms if spoken_words else end_ms
        words.append(Word(written, start_ms, end_ms))
        first = end
    return tuple(words)
