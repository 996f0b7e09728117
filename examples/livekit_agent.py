"""A LiveKit agent whose ears, mind and voice are omni: stock RealtimeModel, other address.

    pip install "livekit-agents[openai]==1.8.9"
    python examples/livekit_agent.py console    # at this machine; `dev` joins LiveKit's rooms

OMNI_URL is the server (default http://127.0.0.1:8080/v1), OMNI_API_KEY its key.
"""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, RunContext, cli
from livekit.agents.llm import function_tool
from livekit.plugins import openai

server = AgentServer()


class Guide(Agent):
    def __init__(self) -> None:
        super().__init__(
            instructions="You are a friendly guide: be brief.",
            llm=openai.realtime.RealtimeModel(
                model="omni",
                base_url=os.environ.get("OMNI_URL", "http://127.0.0.1:8080/v1"),
                api_key=os.environ.get("OMNI_API_KEY", "none"),
            ),
        )

    async def on_enter(self) -> None:
        await self.session.generate_reply(instructions="Say hello.", tool_choice="none")

    @function_tool
    async def get_weather(self, context: RunContext, city: str) -> str:
        """The weather in a city.

        Args:
            city: The name of the city.
        """
        return f"It is sunny in {city}."


@server.rtc_session()
async def entrypoint(context: JobContext) -> None:
    session: AgentSession = AgentSession()

    @session.on("conversation_item_added")
    def show(event: object) -> None:
        name = "You: " if event.item.role == "user" else "Omni:"
        print(name, event.item.text_content)

    await session.start(agent=Guide(), room=context.room)


if __name__ == "__main__":
    cli.run_app(server)
