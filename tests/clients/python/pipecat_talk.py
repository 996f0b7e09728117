"""A conversation through a real pipecat pipeline: EXAMPLE.py QUESTION.pcm PHOTO.png

The pipeline is the example's; only its transport is a script instead of a microphone and a speaker.
Prints a line of JSON for each step.
"""

import asyncio
import sys
from typing import Any

from PIL import Image
from pipecat.frames.frames import InputImageRawFrame
from pipecat.services.openai.realtime.events import (
    ConversationItem,
    ConversationItemCreateEvent,
    ItemContent,
    ResponseCreateEvent,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner
from pipecat_room import Room, Witness, resampled
from steps import LONG, load, tell, until


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
    await write(worker, LONG)
    await until(lambda: mouth.num_bytes > num_bytes + 24000, "it answers again")
    room.ears.speech = question
    await until(lambda: witness.num_interruptions > num_interruptions, "it is interrupted")
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
