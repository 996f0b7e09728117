"""A scripted transport for a pipecat pipeline, and a witness of what passes in it."""

import asyncio
from pathlib import Path

import numpy as np
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

RATE_HZ = 16000
FRAME_S = 0.02
FRAME_BYTES = int(RATE_HZ * FRAME_S) * 2


class Ears(BaseInputTransport):
    """A microphone: what is in `speech`, then silence, for ever."""

    speech = b""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._listening = self.create_task(self._listen())

    async def cleanup(self) -> None:
        await super().cleanup()
        await self.cancel_task(self._listening)

    async def _listen(self) -> None:
        while True:
            audio = self.speech[:FRAME_BYTES].ljust(FRAME_BYTES, b"\0")
            self.speech = self.speech[FRAME_BYTES:]
            await self.push_audio_frame(InputAudioRawFrame(audio, RATE_HZ, 1))
            await asyncio.sleep(FRAME_S)


class Mouth(BaseOutputTransport):
    """A loudspeaker: takes as long as the sound lasts."""

    num_bytes = 0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.num_bytes += len(frame.audio)
        await asyncio.sleep(len(frame.audio) / 2 / frame.sample_rate)
        return True


class Room(BaseTransport):
    def __init__(self) -> None:
        super().__init__()
        params = TransportParams(
            audio_in_enabled=True,
            audio_in_sample_rate=RATE_HZ,
            audio_out_enabled=True,
            video_in_enabled=True,
        )
        self.ears, self.mouth = Ears(params), Mouth(params)
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected")

    def input(self) -> Ears:
        return self.ears

    def output(self) -> Mouth:
        return self.mouth

    async def arrive(self) -> None:
        await self._call_event_handler("on_client_connected", self)


class Witness(BaseObserver):
    """Counts what passes in the pipeline, each frame once."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.num_interruptions = 0
        self.num_replies = 0

    async def on_push_frame(self, data: FramePushed) -> None:
        if not data.first_push:
            return
        match data.frame:
            case ErrorFrame(error=error):
                self.errors.append(error)
            case InterruptionFrame():
                self.num_interruptions += 1
            case BotStoppedSpeakingFrame() if data.direction is FrameDirection.DOWNSTREAM:
                self.num_replies += 1


def resampled(path: str) -> bytes:
    sound = np.frombuffer(Path(path).read_bytes(), "<i2").astype(np.float32)
    at = np.arange(int(len(sound) * RATE_HZ / 24000)) * 24000 / RATE_HZ
    return np.interp(at, np.arange(len(sound)), sound).astype("<i2").tobytes()
