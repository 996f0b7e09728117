"""OpenAI's chat completions on the wire: what may be asked for, and what is answered.

Law: what a client may send is accepted, known or not; what would change the answer and cannot be
done is refused by its name. Source: openai-python 3.54, types/chat.
"""

import secrets
import time
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from omni.protocol.realtime_tools import FunctionTool

MAX_MESSAGES: Final = 1024
MAX_STOPS: Final = 4


class ChatWire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# ---- asked


class TextPart(ChatWire):
    type: Literal["text"]
    text: str


class ImageUrl(ChatWire):
    """A `data:` URL; nothing is ever fetched."""

    url: str


class ImagePart(ChatWire):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class CalledFunction(ChatWire):
    name: str
    arguments: str


class ToolCall(ChatWire):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(ChatWire):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class OfferedTool(ChatWire):
    """`function` has a name, and perhaps a description and parameters, a JSON schema."""

    type: Literal["function"]
    function: FunctionTool


class NamedTool(ChatWire):
    name: str


class NamedChoice(ChatWire):
    type: Literal["function"]
    function: NamedTool


class StreamOptions(ChatWire):
    include_usage: bool = False


class ResponseFormat(ChatWire):
    type: Literal["text"]


class ChatRequest(ChatWire):
    """`continue_final_message` is vLLM's: go on with the last message, which is the assistant's."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    logprobs: Literal[False] | None = None
    response_format: ResponseFormat | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    continue_final_message: bool = False

    @property
    def stops(self) -> tuple[str, ...]:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in given if stop)


# ---- answered


class CachedTokens(ChatWire):
    cached_tokens: int


class Usage(ChatWire):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class AnswerMessage(ChatWire):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCall] | None = None


class Choice(ChatWire):
    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "tool_calls"]
    logprobs: None = None


class Completion(ChatWire):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Head(ChatWire):
    """What an answer and all its chunks have in common."""

    id: str = Field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """A piece of a streamed answer."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self.model_dump(), "object": "chat.completion.chunk", "choices": [choice]}

    def last_chunk(self, usage: Usage) -> dict[str, Any]:
        """What a streamed answer cost."""
        common = {**self.model_dump(), "object": "chat.completion.chunk"}
        return {**common, "choices": [], "usage": usage.model_dump()}
