"""Hides how the Kokoro voice is run: words → phonemes → prosody of the clause → sound.

Law: the same text, voice and speed give the same samples; the words of an utterance are those of
its text, in order, and their times lie within it.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from omni.errors import AssetError, ConfigError
from omni.models.embedded import kokoro_graph
from omni.models.embedded.kokoro_graph import FRAME_SAMPLES
from omni.models.embedded.kokoro_sound import RATE_HZ, Sound, audible, faded, frozen, pause
from omni.models.embedded.kokoro_words import Spelling, Tokens, pronounce, runs, tokens

FRAME_MS = FRAME_SAMPLES * 1000 // RATE_HZ
MAX_PHONEMES = 500  # the model's table of positions has 512 rows
LEAD_FRAMES = 6  # a phoneme can be heard this long before its nominal start
EARLY_MS = 50  # and usually is by this much, measured at pauses in three voices
TAIL_FRAMES = 4
MEMO_BYTES = 8 << 20


class Word(NamedTuple):
    """A word as it was given, and when it is heard, from the start of its utterance."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """A clause as sound: `samples` are float32 [n] at 24 kHz, read-only."""

    samples: Sound
    words: tuple[Word, ...]


class _Plan(NamedTuple):
    """What the decoder is told of a run of words, in frames of 25 ms."""

    features: NDArray[np.float32]  # [1, 512, frames]
    pitch: NDArray[np.float32]  # [1, 2 * frames]
    energy: NDArray[np.float32]  # [1, 2 * frames]
    style: NDArray[np.float32]  # [1, 256]
    ends: NDArray[np.int64]  # [tokens], frame at which each token ends


class Kokoro:
    """Kokoro-82M (Apache-2.0) on onnxruntime; one thread may use it at a time.

    Args:
        model_path: the int8 ONNX export of kokoro-onnx v1.0.
        vocab_path: JSON {"vocab": {phoneme: id}}.
        voices_dir: one NAME.bin of float32 [510, 1, 256] per voice.
        num_threads: cores one clause may use.
    """

    def __init__(
        self, model_path: Path, vocab_path: Path, voices_dir: Path, num_threads: int
    ) -> None:
        prosody, decoder = kokoro_graph.halves(model_path)
        self._prosody = _session(prosody, num_threads)
        self._decoder = _session(decoder, num_threads)
        self._vocab: dict[str, int] = json.loads(vocab_path.read_text(encoding="utf-8"))["vocab"]
        self._voice_paths = {path.stem: path for path in sorted(voices_dir.glob("*.bin"))}
        if not self._voice_paths:
            raise AssetError(f"no voices (*.bin) in {voices_dir.name}")
        self._styles: dict[str, NDArray[np.float32]] = {}
        self._memo: OrderedDict[tuple[str, str, float], Utterance] = OrderedDict()

    def voices(self) -> tuple[str, ...]:
        """Names of the voices; the first letter is the language each was trained on."""
        return tuple(self._voice_paths)

    def synthesise(self, text: str, voice: str, speed: float) -> Utterance:
        """Speak one clause of plain words; one without any gives an empty utterance.

        Raises:
            ConfigError: no such voice.
        """
        key = (text, voice, speed)
        if key in self._memo:
            self._memo.move_to_end(key)
            return self._memo[key]
        styles = self._voice(voice)
        parts = [self._say(run, styles, speed) for run in runs(pronounce(text), MAX_PHONEMES)]
        utterance = _joined(parts)
        self._remember(key, utterance)
        return utterance

    def _voice(self, name: str) -> NDArray[np.float32]:
        if name not in self._voice_paths:
            raise ConfigError(
                f"no voice {name!r}; there are: {', '.join(self._voice_paths)}", param="voice"
            )
        if name not in self._styles:
            table = np.fromfile(self._voice_paths[name], np.float32)
            self._styles[name] = table.reshape(-1, 1, 256)
        return self._styles[name]

    def _say(self, run: Sequence[Spelling], styles: NDArray[np.float32], speed: float) -> Utterance:
        line = tokens(run, self._vocab, MAX_PHONEMES)
        spans = [span for span in line.spans if span]
        if not spans:
            return Utterance(frozen([]), tuple(Word(word.text, 0, 0) for word in run))
        plan = self._plan(line, styles, speed)
        first = max(0, int(plan.ends[spans[0][0] - 1]) - LEAD_FRAMES)
        last = min(int(plan.ends[-1]), int(plan.ends[spans[-1][1] - 1]) + TAIL_FRAMES)
        sound = self._decode(plan, first, last)
        start, end = audible(sound)
        origin_ms = first * FRAME_MS + start * 1000 // RATE_HZ + EARLY_MS
        words = _timed(run, line, plan.ends * FRAME_MS - origin_ms, (end - start) * 1000 // RATE_HZ)
        return Utterance(frozen([faded(sound[start:end]), pause(run[-1].phonemes)]), words)

    def _plan(self, line: Tokens, styles: NDArray[np.float32], speed: float) -> _Plan:
        style = styles[min(len(line.ids) - 2, len(styles)) - 1]
        names = list(kokoro_graph.PROSODY.values())
        durations, features, pitch, energy = self._prosody.run(
            names,
            {
                "tokens": np.array([line.ids], np.int64),
                "style": style,
                "speed": np.array([speed], np.float32),
            },
        )
        return _Plan(features, pitch, energy, style, np.cumsum(durations[0]).astype(np.int64))

    def _decode(self, plan: _Plan, first: int, last: int) -> Sound:
        """Sound of the frames [first, last)."""
        names = kokoro_graph.PROSODY
        (sound,) = self._decoder.run(
            ["audio"],
            {
                names["features"]: plan.features[:, :, first:last],
                names["pitch"]: plan.pitch[:, 2 * first : 2 * last],
                names["energy"]: plan.energy[:, 2 * first : 2 * last],
                "style": plan.style,
            },
        )
        return np.asarray(sound, np.float32)

    def _remember(self, key: tuple[str, str, float], utterance: Utterance) -> None:
        self._memo[key] = utterance
        while sum(known.samples.nbytes for known in self._memo.values()) > MEMO_BYTES:
            self._memo.popitem(last=False)


def _session(model: bytes, num_threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    # Threads that spin for work take the cores that the recogniser and the LLM need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Small shares, taken when free: a thread whose core is taken away does not hold up the other.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _timed(
    run: Sequence[Spelling], line: Tokens, ends_ms: NDArray[np.int64], length_ms: int
) -> tuple[Word, ...]:
    """Word times from the predicted durations; a word without sound takes none."""
    words, now_ms = [], 0
    for word, span in zip(run, line.spans, strict=True):
        start_ms = end_ms = now_ms
        if span:
            start_ms = min(max(now_ms, int(ends_ms[span[0] - 1])), length_ms)
            end_ms = min(max(start_ms, int(ends_ms[span[1] - 1])), length_ms)
        words.append(Word(word.text, start_ms, end_ms))
        now_ms = end_ms
    return tuple(words)


def _joined(parts: Sequence[Utterance]) -> Utterance:
    """Utterances one after the other, their words' times moved along."""
    words: list[Word] = []
    length_ms = 0
    for part in parts:
        words += [Word(w.text, w.start_ms + length_ms, w.end_ms + length_ms) for w in part.words]
        length_ms += len(part.samples) * 1000 // RATE_HZ
    if len(parts) == 1:
        return parts[0]
    return Utterance(frozen([part.samples for part in parts]), tuple(words))
