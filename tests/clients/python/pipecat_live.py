"""A conversation through pipecat's OpenAILiveLLMService, which speaks OpenAI Live: URL QUESTION.pcm

Prints a line of JSON for each step.
"""

import asyncio
import sys
from typing import Any

from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.openai.live.llm import OpenAILiveLLMService
from pipecat.workers.runner import WorkerRunner
from pipecat_room import Room, Witness, resampled
from steps import tell, until


async def talk(worker: PipelineWorker, room: Room, question: bytes, context: LLMContext) -> None:
    def said(role: str) -> list[Any]:
        return [m["content"] for m in context.get_messages() if m["role"] == role]

    witness = Witness()
    worker.add_observer(witness)
    await worker.queue_frames([LLMRunFrame()])
    await until(lambda: len(said("assistant")) == 1, "it greets")
    room.ears.speech, num_bytes = question, room.mouth.num_bytes
    await until(lambda: room.mouth.num_bytes > num_bytes + 24000, "it answers")
    room.ears.speech = question
    await until(lambda: len(said("assistant")) == 3, "it is interrupted, and answers that")
    tell("talked", you=said("user"), omni=said("assistant"))

    await worker.cancel()
    tell("closed", errors=witness.errors)


async def main(url: str, question_path: str) -> None:
    room = Room()
    context = LLMContext([{"role": "developer", "content": "Say hello."}])
    user, assistant = LLMContextAggregatorPair(context)
    llm = OpenAILiveLLMService(api_key="none", base_url=url)
    worker = PipelineWorker(Pipeline([room.input(), user, llm, room.output(), assistant]))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await talk(worker, room, resampled(question_path), context)
    await running


asyncio.run(main(*sys.argv[1:]))
