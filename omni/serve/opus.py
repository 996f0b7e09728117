"""Opus packets of a call to float samples and back, on the call's own clock.

Hides the codec and what becomes of lost and late packets. Laws: the samples that come out are as
long as the call, whatever is lost; no packet, however broken, stops the ones after it.
"""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from omni.errors import MediaError
from omni.serve.jitter import JitterBuffer, Slot
from omni.serve.libopus import OpusDecoder, OpusEncoder, duration_ticks, has_fec
from omni.serve.rtp import OPUS_HZ, RtpPacket
from omni.types import Samples, frozen_array

log = logging.getLogger(__name__)

HEARD_HZ: Final = 16000
SPOKEN_HZ: Final = 24000
FRAME_SAMPLES: Final = SPOKEN_HZ // 50
FRAME_TICKS: Final = OPUS_HZ // 50
GUESSED_S: Final = 0.1  # of a loss; what a decoder makes up beyond is noise
QUIET_LEVEL: Final = 0.003  # root mean square; nobody misses 20 ms of it
SETTLED_FRAMES: Final = 10  # silence after which the encoder's output repeats
BIT_RATE: Final = 32000
LOSS_PERCENT: Final = 10  # what FEC is for
COMPLEXITY: Final = 5


class OpusReceiver:
    """One incoming stream, put in order and decoded to float32, mono, at any rate that Opus has.

    Losses are told by FEC, where the sender adds it, else guessed by the decoder, and silence when
    they are long. Libopus decodes at our rate: nothing is resampled, so nothing is delayed.
    """

    def __init__(self, rate_hz: int = HEARD_HZ) -> None:
        self._buffer = JitterBuffer()
        self._decoder = OpusDecoder(rate_hz)
        self._ticks_per_sample = OPUS_HZ // rate_hz
        self._most_guessed = int(rate_hz * GUESSED_S)
        self._num_guessed = 0  # since the last packet
        self._surplus_samples = 0  # silence told in the place of words that came after all

    @property
    def next_timestamp(self) -> int:
        """RTP time of the sample after those told so far."""
        return self._buffer.next_timestamp

    def push(self, packet: RtpPacket, now_ms: float) -> Samples:
        """Take in a packet as it arrives; the samples [n] that can be told by now, n ≥ 0."""
        return self._sound(self._buffer.push(packet, now_ms))

    def poll(self, now_ms: float) -> Samples:
        """Samples [n] that are due because time has passed without packets."""
        return self._sound(self._buffer.poll(now_ms))

    def _sound(self, slots: Sequence[Slot]) -> Samples:
        pieces = [piece for slot in slots for piece in self._pieces(slot)]
        return frozen_array(np.concatenate(pieces)) if pieces else _silence(0)

    def _pieces(self, slot: Slot) -> list[Samples]:
        missing = self._conceal(slot.gap_ticks // self._ticks_per_sample, slot.payload)
        if slot.payload is None:
            return missing
        self._num_guessed = 0
        self._surplus_samples += slot.late_ticks // self._ticks_per_sample
        try:
            sound = self._decoder.decode(slot.payload)
        except MediaError:
            log.debug("a broken Opus packet was concealed")
            sound = self._decoder.conceal(duration_ticks(slot.payload) // self._ticks_per_sample)
        sound = sound[slot.overlap_ticks // self._ticks_per_sample :]
        return missing if self._catches_up(sound) else [*missing, sound]

    def _conceal(self, num_samples: int, following: bytes | None) -> list[Samples]:
        """What may have been in a gap: guessed at its start, told by FEC at its end."""
        if not num_samples:
            return []
        told = 0
        if following and has_fec(following):
            told = min(num_samples, duration_ticks(following) // self._ticks_per_sample)
        guessed = min(num_samples - told, self._most_guessed - self._num_guessed)
        self._num_guessed += guessed
        head = self._decoder.conceal(guessed)
        tail = self._decoder.conceal(told, following)
        return [head, _silence(num_samples - len(head) - len(tail)), tail]

    def _catches_up(self, sound: Samples) -> bool:
        """Whether this sound is silence that makes up for surplus silence."""
        if not 0 < len(sound) <= self._surplus_samples:
            return False
        if float(np.dot(sound, sound)) > len(sound) * QUIET_LEVEL**2:
            return False
        self._surplus_samples -= len(sound)
        return True


class OpusSender:
    """One outgoing stream: 20 ms frames of float32 at 24 kHz, mono, to packets with FEC.

    Encoded at the rate the voice has: nothing is resampled, so nothing is delayed.
    """

    def __init__(self) -> None:
        self._encoder = OpusEncoder(SPOKEN_HZ, BIT_RATE, LOSS_PERCENT, COMPLEXITY)
        self._num_silent = 0
        self._silent_payload = b""

    def push(self, samples: Samples) -> bytes:
        """One frame, [480] or fewer (silence follows), as an Opus packet."""
        self._num_silent = 0
        if len(samples) < FRAME_SAMPLES:
            samples = np.pad(samples, (0, FRAME_SAMPLES - len(samples)))
        if not np.abs(samples).max() <= 1:  # nor is it where there is none
            samples = np.clip(np.nan_to_num(samples), -1, 1)
        return self._encoder.encode(samples)

    def silence(self) -> bytes:
        """A frame of nothing; costs nothing once the encoder has settled."""
        if self._num_silent < SETTLED_FRAMES:
            self._num_silent += 1
            self._silent_payload = self._encoder.encode(_silence(FRAME_SAMPLES))
        return self._silent_payload


def _silence(num_samples: int) -> Samples:
    return np.zeros(num_samples, np.float32)
