"""A conversation through LiveKit's GPTLiveModel, which speaks OpenAI Live: URL QUESTION.pcm

Prints a line of JSON for each step.
"""

import asyncio
import logging
import sys
from pathlib import Path

from livekit.agents import Agent, AgentSession
from livekit.plugins.openai.realtime import GPTLiveModel
from livekit_devices import Loudspeaker, Microphone, Witness
from steps import tell, until


async def main(url: str, question_path: str) -> None:
    question = Path(question_path).read_bytes()
    witness = Witness()
    logging.getLogger("livekit").addHandler(witness)
    model = GPTLiveModel(base_url=url, api_key="none", delegation="client")
    ears, mouth = Microphone(), Loudspeaker()
    options = {"interruption": {"resume_false_interruption": False}}  # for pausing loudspeakers
    session: AgentSession = AgentSession(turn_handling=options)
    session.input.audio, session.output.audio = ears, mouth
    await session.start(agent=Agent(instructions="Be brief.", llm=model))

    ears.speech = question
    await until(lambda: len(mouth.heard_s) == 1, "it answers")
    ears.speech, total_s = question, mouth.total_s
    await until(lambda: mouth.total_s > total_s + 0.5, "it answers again")
    ears.speech = question
    await until(lambda: len(mouth.heard_s) == 3, "it is interrupted, and answers that")
    said = [(m.role, m.text_content.strip()) for m in session.history.messages()]
    tell("talked", said=said, heard_s=mouth.heard_s)

    await session.aclose()
    await model.aclose()
    tell("closed", complaints=witness.complaints)


asyncio.run(main(*sys.argv[1:]))
