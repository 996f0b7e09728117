"""A pipecat bot whose ears, mind and voice are omni: stock OpenAIRealtimeLLMService, other address.

    pip install "pipecat-ai[openai,runner,webrtc]==1.14.0"
    python examples/pipecat_bot.py        # then open the page that it names, and speak

OMNI_URL is the server (default ws://127.0.0.1:8080/v1/realtime), OMNI_API_KEY its key.
"""

import os

from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SemanticTurnDetection,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner


async def get_weather(params: FunctionCallParams, city: str) -> None:
    """The weather in a city.

    Args:
        city: The name of the city.
    """
    await params.result_callback({"city": city, "weather": "sunny"})


def omni() -> OpenAIRealtimeLLMService:
    """The one service of the pipeline: it hears, thinks and speaks."""
    audio = AudioConfiguration(
        input=AudioInput(
            transcription=InputAudioTranscription(), turn_detection=SemanticTurnDetection()
        )
    )
    return OpenAIRealtimeLLMService(
        api_key=os.environ.get("OMNI_API_KEY", "none"),
        base_url=os.environ.get("OMNI_URL", "ws://127.0.0.1:8080/v1/realtime"),
        settings=OpenAIRealtimeLLMService.Settings(
            model="omni",
            system_instruction="You are a friendly guide. Answer in one or two sentences.",
            session_properties=SessionProperties(audio=audio),
        ),
    )


def conversation(transport: BaseTransport) -> PipelineWorker:
    """The pipeline between a transport's two ends; greets whoever connects."""
    context = LLMContext([{"role": "developer", "content": "Say hello."}], [get_weather])
    user, assistant = LLMContextAggregatorPair(context)
    worker = PipelineWorker(
        Pipeline([transport.input(), user, omni(), transport.output(), assistant])
    )

    @transport.event_handler("on_client_connected")
    async def greet(transport: BaseTransport, client: object) -> None:
        await worker.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def leave(transport: BaseTransport, client: object) -> None:
        await worker.cancel()

    @user.event_handler("on_user_turn_message_added")
    async def show_user(aggregator: object, message: object) -> None:
        print("You: ", message.content)

    @assistant.event_handler("on_assistant_turn_stopped")
    async def show_assistant(aggregator: object, message: object) -> None:
        print("Omni:", message.content)

    return worker


async def bot(runner_args: object) -> None:
    """What pipecat's runner calls for every client of its page."""
    from pipecat.runner.utils import create_transport

    params = {
        "webrtc": lambda: TransportParams(
            audio_in_enabled=True, audio_out_enabled=True, video_in_enabled=True
        )
    }
    transport = await create_transport(runner_args, params)
    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(conversation(transport))
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
