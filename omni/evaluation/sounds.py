"""What the scripted users say: synthesised speech, spliced and mixed by a seed, or recordings.

Hides the texts and the levels. Every sound begins and ends with its first and last audible sample,
so that its place in the recording tells when it was said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from omni.evaluation.recording import RATE_HZ
from omni.types import Samples

Kind = Literal["question", "pause", "interrupt", "backchannel", "tic", "side"]
Say = Callable[[str, str], tuple[Samples, Sequence[int]]]
"""Text and voice to float32 [n] at 24 kHz, and where in it each word begins, in ms."""

USERS: Final = ("am_michael", "af_bella", "bm_george", "am_puck", "bf_emma")
OTHERS: Final = ("bf_isabella", "am_onyx", "af_sky")  # who talk to somebody else
QUESTIONS: Final = (
    "Can you tell me a long story about a fox?",
    "What do you know about the city of Paris?",
    "Tell me everything about the moon.",
    "How do people bake bread at home?",
    "Can you explain how a bicycle works?",
    "Tell me about the history of tea.",
    "What should I know about whales?",
    "Why do we have different seasons?",
)
# Said as one sentence, and cut in two at the bar: what comes before it sounds unfinished.
PAUSED: Final = (
    "I would like to know | how people bake bread at home.",
    "Can you tell me about the | history of tea and coffee?",
    "When I was in Paris last summer, | I wondered why the tower is there.",
    "My sister wants to | learn something about whales.",
    "What is the difference | between a fox and a wolf?",
    "I have been thinking about | the planets and the moon.",
    "Do you know a good story | about a small dog?",
    "Please explain to me | why we have different seasons.",
    "If it rains on Sunday, | what should we do with the children?",
    "I was thinking that maybe | you could tell me a story.",
    "How far is it from | Berlin to the sea?",
    "My brother asked me yesterday | whether cats can swim.",
    "Tell me something about my | favourite animal, the whale.",
    "Well, the thing is, | I have never baked bread before.",
    "Could you compare the old | and the new town for me?",
    "We will be in Rome for | three days in the spring.",
)
INTERRUPTIONS: Final = (
    "Stop.",
    "Wait, wait.",
    "No, that's not what I meant.",
    "Hold on a second.",
    "What about the weather tomorrow?",
    "Can you tell me something about dogs instead?",
    "Sorry, I have another question about trains.",
    "Actually, let us talk about music.",
    "Okay stop, that is enough.",
    "How long does that take?",
)
BACKCHANNELS: Final = ("Mm-hmm.", "Yeah.", "Right.", "Okay.", "Uh-huh.", "Oh, I see.", "Yes.")
SIDE_TALK: Final = (
    "Did you feed the cat already?",
    "I am on the phone, just leave it on the table.",
    "Could you close the window please?",
    "Dinner will be ready in ten minutes.",
)
BABBLE_DB: Final = -20.0
SIDE_DB: Final = -16.0
SPEECH_RMS: Final = 0.06
SILENT_BELOW: Final = 0.02  # of the peak


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """`pause_s`: where in it the speaker pauses, from and to, if at all."""

    kind: Kind
    samples: Samples  # [n] at 24 kHz
    pause_s: tuple[float, float] | None = None

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ


class Repertoire:
    """An endless, seeded supply of sounds of each kind.

    Args:
        say: a voice.
        seed: same seed, same sounds in the same order.
        recordings: taken instead of our own sounds of that kind, in order.
    """

    def __init__(
        self, say: Say, seed: int, recordings: Mapping[Kind, Sequence[Samples]] | None = None
    ) -> None:
        self._say = say
        self._rng = np.random.default_rng(seed)
        self._recordings = recordings or {}
        self._first = int(self._rng.integers(0, 1000))  # of each list, which text comes first
        self._counts: dict[Kind, int] = {}
        self._made: dict[tuple[str, str], Samples] = {}

    def rehearse(self) -> None:
        """Synthesise all there is to say: a performance has no time for it."""
        plain = (*QUESTIONS, *INTERRUPTIONS, *BACKCHANNELS, "Um.")
        for text in plain:
            self._user(text)
        for text in PAUSED:
            self._with_pause(text)
        for index, text in enumerate(SIDE_TALK):
            self._spoken(text, OTHERS[index % len(OTHERS)])
        self._babble()

    def next(self, kind: Kind) -> Sound:
        count = self._counts.get(kind, self._first)
        self._counts[kind] = count + 1
        if given := self._recordings.get(kind):
            own = trimmed(given[count % len(given)])
            return Sound(kind, own, longest_pause(own) if kind == "pause" else None)
        match kind:
            case "question":
                return Sound(kind, self._user(QUESTIONS[count % len(QUESTIONS)]))
            case "pause":
                return self._with_pause(PAUSED[count % len(PAUSED)])
            case "interrupt":
                return Sound(kind, self._user(INTERRUPTIONS[count % len(INTERRUPTIONS)]))
            case "backchannel":
                return Sound(kind, self._user(BACKCHANNELS[count % len(BACKCHANNELS)]))
            case "tic":
                return Sound(kind, self._tic(count))
            case "side":
                return Sound(kind, self._side(count))

    def _with_pause(self, text: str) -> Sound:
        first, _, second = text.partition(" | ")
        samples, starts_ms = self._say(f"{first} {second}", USERS[0])
        cut = starts_ms[len(first.split())] * RATE_HZ // 1000
        head, tail = trimmed(samples[:cut]), trimmed(samples[cut:])
        pause_s = float(self._rng.uniform(0.4, 1.5))
        silence = np.zeros(int(pause_s * RATE_HZ), np.float32)
        begins_s = len(head) / RATE_HZ
        sound = levelled(np.concatenate([head, silence, tail]))
        return Sound("pause", sound, (begins_s, begins_s + pause_s))

    def _tic(self, count: int) -> Samples:
        match count % 3:
            case 0:
                return self._cough()
            case 1:
                return self._user("Um.")
            case _:
                return gained(self._cough(), -6)

    def _side(self, count: int) -> Samples:
        if count % 3 == 2:
            return gained(self._babble(), BABBLE_DB)
        text = SIDE_TALK[count % len(SIDE_TALK)]
        voice = OTHERS[count % len(SIDE_TALK) % len(OTHERS)]
        return gained(self._spoken(text, voice), SIDE_DB)

    def _cough(self) -> Samples:
        """Two bursts of noise that decay: what a microphone gets of a cough."""
        times_s = np.arange(int(0.22 * RATE_HZ)) / RATE_HZ
        envelope = np.exp(-times_s / 0.05) * np.minimum(1, times_s / 0.005)
        bursts = [np.convolve(self._rng.normal(0, 1, len(times_s)), [0.25] * 4, "same") * envelope
                  for _ in range(2)]  # fmt: skip
        gap = np.zeros(int(0.12 * RATE_HZ))
        return levelled(np.asarray(np.concatenate([bursts[0], gap, bursts[1]]), np.float32))

    def _babble(self) -> Samples:
        """Six voices at once."""
        voices = [self._spoken(text, (*USERS, *OTHERS)[i]) for i, text in enumerate(QUESTIONS[:6])]
        size = min(len(voice) for voice in voices)
        return levelled(np.sum([voice[:size] for voice in voices], axis=0, dtype=np.float32))

    def _user(self, text: str) -> Samples:
        return self._spoken(text, USERS[0])

    def _spoken(self, text: str, voice: str) -> Samples:
        if (text, voice) not in self._made:
            self._made[text, voice] = levelled(trimmed(self._say(text, voice)[0]))
        return self._made[text, voice]


def trimmed(samples: Samples) -> Samples:
    """From the first audible sample to the last."""
    loud = np.flatnonzero(np.abs(samples) > SILENT_BELOW * np.abs(samples).max(initial=0))
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples


def longest_pause(samples: Samples) -> tuple[float, float]:
    """From and to, in s: the longest run of sound below a fiftieth of the peak."""
    loud = np.flatnonzero(np.abs(samples) > SILENT_BELOW * np.abs(samples).max(initial=0))
    if len(loud) < 2:
        return 0.0, 0.0
    longest = int(np.argmax(np.diff(loud)))
    return loud[longest] / RATE_HZ, loud[longest + 1] / RATE_HZ


def levelled(samples: Samples) -> Samples:
    """At the level of a voice close to the microphone; silence does not count."""
    loud = samples[np.abs(samples) > SILENT_BELOW * np.abs(samples).max(initial=0)]
    rms = float(np.sqrt(np.mean(loud**2))) if loud.size else 1.0
    return np.asarray(np.clip(samples * (SPEECH_RMS / rms), -0.99, 0.99), np.float32)


def gained(samples: Samples, level_db: float) -> Samples:
    return np.asarray(samples * 10 ** (level_db / 20), np.float32)
