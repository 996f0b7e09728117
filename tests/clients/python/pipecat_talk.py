"""A conversation through a real pipecat pipeline: EXAMPLE.py QUESTION.pcm PHOTO.png

The pipeline is the example's; only its transport is a script instead of a microphone and a speaker.
Prints a line of JSON for each step.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InputImageRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.openai.realtime.events import (
    ConversationItem,
    ConversationItemCreateEvent,
    ItemContent,
    ResponseCreateEvent,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 16000
FRAME_S = 0.02
FRAME_BYTES = int(RATE_HZ * FRAME_S) * 2


def tell(step: str, **fields: object) -> None:
    print(json.dumps({"step": step, **fields}), flush=True)


async def until(ready: Callable[[], object], what: str) -> None:
    for _ in range(400):
        if ready():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"never came true: {what}")


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


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def resampled(path: str) -> bytes:
    sound = np.frombuffer(Path(path).read_bytes(), "<i2").astype(np.float32)
    at = np.arange(int(len(sound) * RATE_HZ / 24000)) * 24000 / RATE_HZ
    return np.interp(at, np.arange(len(sound)), sound).astype("<i2").tobytes()


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


async def talk(worker: Any, room: Room, question: bytes, photo: Image.Image) -> None:
    witness, mouth = Witness(), room.mouth
    worker.add_observer(witness)
    await room.arrive()
    await until(lambda: witness.num_replies == 1, "it greets")
    tell("connected", audioBytes=mouth.num_bytes)

    room.ears.speech = question
    await until(lambda: witness.num_replies == 2, "it answers")
    tell("answered", audioBytes=mouth.num_bytes)

    num_bytes, num_interruptions = mouth.num_bytes, witness.num_interruptions
    room.ears.speech = question
    await until(lambda: mouth.num_bytes > num_bytes + 24000, "it answers again")
    room.ears.speech = question
    await until(lambda: witness.num_interruptions > num_interruptions + 1, "it is interrupted")
    await until(lambda: witness.num_replies == 4, "it answers what interrupted it")
    tell("interrupted")

    await write(worker, "Please get_weather")
    await until(lambda: witness.num_replies == 5, "it answers with what the tool said")
    tell("called")

    await room.ears.push_video_frame(InputImageRawFrame(photo.tobytes(), photo.size, photo.mode))
    await write(worker, "What is this?")
    await until(lambda: witness.num_replies == 6, "it answers about the picture")
    tell("shown")

    await worker.cancel()
    tell("closed", errors=witness.errors)


async def write(worker: Any, text: str) -> None:
    inner = (q for p in worker.pipeline.processors for q in p.processors)
    (llm,) = (q for q in inner if isinstance(q, OpenAIRealtimeLLMService))
    content = [ItemContent(type="input_text", text=text)]
    item = ConversationItem(type="message", role="user", content=content)
    await llm.send_client_event(ConversationItemCreateEvent(item=item))
    await llm.send_client_event(ResponseCreateEvent())


async def main(example_path: str, question_path: str, photo_path: str) -> None:
    room = Room()
    worker = load(example_path).conversation(room)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    photo = Image.open(photo_path).convert("RGB")
    talking = asyncio.create_task(talk(worker, room, resampled(question_path), photo))
    running = asyncio.create_task(runner.run())
    await asyncio.wait((talking, running), return_when=asyncio.FIRST_COMPLETED)
    await talking
    await running


asyncio.run(main(*sys.argv[1:]))
