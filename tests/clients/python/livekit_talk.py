"""A conversation through LiveKit's RealtimeModel: EXAMPLE.py QUESTION.pcm PHOTO.png

The agent is the example's, in a real AgentSession; only microphone and loudspeaker are scripts.
Prints a line of JSON for each step.
"""

import asyncio
import base64
import logging
import sys
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.llm import ChatContext, ImageContent
from livekit_devices import Loudspeaker, Microphone, Witness
from steps import LONG, load, tell, until


def said(session: AgentSession, role: str) -> list[Any]:
    return [m for m in session.history.messages() if m.role == role]


def last(session: AgentSession, role: str) -> Any:
    return said(session, role)[-1]


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
    await until(lambda: said(session, "assistant"), "it knows that it did")
    tell("connected", omni=last(session, "assistant").text_content, heard_s=mouth.heard_s[0])

    ears.speech = question
    await until(lambda: len(mouth.heard_s) == 2, "it answers")
    await until(lambda: len(said(session, "assistant")) == 2, "it knows what was answered")
    you, omni = last(session, "user").text_content, last(session, "assistant").text_content
    tell("answered", you=you, omni=omni, heard_s=mouth.heard_s[1])

    total_s = mouth.total_s
    session.generate_reply(user_input=LONG)
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
