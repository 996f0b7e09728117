"""A conversation through LiveKit's RealtimeModel: EXAMPLE.py QUESTION.pcm PHOTO.png

The agent is the example's, in a real AgentSession; only microphone and loudspeaker are scripts.
Prints a line of JSON for each step.
"""

import asyncio
import base64
import importlib.util
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.llm import ChatContext, ImageContent
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

RATE_HZ = 24000
FRAME_S = 0.02
FRAME_SAMPLES = int(RATE_HZ * FRAME_S)


def tell(step: str, **fields: object) -> None:
    print(json.dumps({"step": step, **fields}), flush=True)


async def until(ready: Callable[[], object], what: str) -> None:
    for _ in range(400):
        if ready():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"never came true: {what}")


class Microphone(AudioInput):
    """What is in `speech`, then silence, for ever; in real time."""

    def __init__(self) -> None:
        super().__init__(label="script")
        self.speech = b""
        self._due = time.monotonic()

    async def __anext__(self) -> rtc.AudioFrame:
        self._due += FRAME_S
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        size = FRAME_SAMPLES * 2
        chunk, self.speech = self.speech[:size].ljust(size, b"\0"), self.speech[size:]
        return rtc.AudioFrame(chunk, RATE_HZ, 1, FRAME_SAMPLES)


class Loudspeaker(AudioOutput):
    """Takes as long as the sound lasts, and knows how much of it was heard."""

    def __init__(self) -> None:
        super().__init__(
            label="script",
            next_in_chain=None,
            sample_rate=RATE_HZ,
            capabilities=AudioOutputCapabilities(pause=False),
        )
        self.total_s = 0.0
        self.heard_s: list[float] = []
        self._started_at = self._length_s = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._length_s:
            self._started_at = time.time()
            self.on_playback_started(created_at=self._started_at)
        self._length_s += frame.duration
        self.total_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._length_s and self._end is None:
            rest_s = self._length_s - (time.time() - self._started_at)
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(max(0.0, rest_s), self._finish, self._length_s, False)

    def clear_buffer(self) -> None:
        if self._length_s:
            self._finish(min(self._length_s, time.time() - self._started_at), True)

    def _finish(self, heard_s: float, is_interrupted: bool) -> None:
        if self._end:
            self._end.cancel()
        self._end, self._length_s = None, 0.0
        self.heard_s.append(heard_s)
        self.on_playback_finished(playback_position=heard_s, interrupted=is_interrupted)


class Witness(logging.Handler):
    """The warnings and errors of LiveKit itself: it notes faults of a server in its log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.complaints.append(record.getMessage())


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def last(session: AgentSession, role: str) -> Any:
    return [m for m in session.history.messages() if m.role == role][-1]


async def talk(agent: Any, question: bytes, photo: str) -> None:
    witness = Witness()
    logging.getLogger("livekit").addHandler(witness)
    ears, mouth = Microphone(), Loudspeaker()
    options = {"interruption": {"resume_false_interruption": False}}  # for pausing loudspeakers
    session: AgentSession = AgentSession(turn_handling=options)
    session.input.audio, session.output.audio = ears, mouth
    session.on("error", lambda event: witness.complaints.append(str(event.error)))
    await session.start(agent=agent)
    await until(lambda: len(mouth.heard_s) == 1, "it greets")
    tell("connected", omni=last(session, "assistant").text_content, heard_s=mouth.heard_s[0])

    ears.speech = question
    await until(lambda: len(mouth.heard_s) == 2, "it answers")
    you, omni = last(session, "user").text_content, last(session, "assistant").text_content
    tell("answered", you=you, omni=omni, heard_s=mouth.heard_s[1])

    ears.speech, total_s = question, mouth.total_s
    await until(lambda: mouth.total_s > total_s + 1, "it answers again")
    ears.speech = question
    await until(lambda: len(mouth.heard_s) == 3, "it is interrupted")
    await until(lambda: len(mouth.heard_s) == 4, "it answers what interrupted it")
    cut = [m for m in session.history.messages() if m.role == "assistant" and m.interrupted][-1]
    tell("interrupted", omni=cut.text_content, heard_s=mouth.heard_s[2])

    await session.generate_reply(user_input="Please get_weather")
    tell("called", omni=last(session, "assistant").text_content)

    context: ChatContext = agent.chat_ctx.copy()
    context.add_message(role="user", content=[ImageContent(image=photo)])
    await agent.update_chat_ctx(context)
    await session.generate_reply(user_input="What is this?")
    tell("shown", omni=last(session, "assistant").text_content)

    await session.aclose()
    await agent.llm.aclose()
    tell("closed", complaints=witness.complaints)


async def main(example_path: str, question_path: str, photo_path: str) -> None:
    photo = base64.b64encode(Path(photo_path).read_bytes()).decode()
    agent = load(example_path).Guide()
    await talk(agent, Path(question_path).read_bytes(), f"data:image/png;base64,{photo}")


asyncio.run(main(*sys.argv[1:]))
