"""POST /v1/chat/completions: the core's words without a conversation around them.

Hides how an OpenAI request becomes a prompt of the think stage, pictures told in words included.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from fastapi import APIRouter, Request, Response

from omni.chat import Message
from omni.dialog import looking
from omni.dialog.messages import made_call
from omni.errors import ProtocolError
from omni.protocol.realtime_items import decode_image
from omni.protocol.realtime_session import Defaults
from omni.serve.exchange import Exchange
from omni.serve.gateway import Gateway
from omni.serve.plain.chat_wire import (
    AnswerMessage,
    CachedTokens,
    ChatMessage,
    ChatRequest,
    Choice,
    Completion,
    Head,
    ImagePart,
    TextPart,
    Usage,
)
from omni.serve.plain.stops import StopFinder
from omni.serve.plain.streaming import EVENT_STREAM, Streamed, server_sent, while_waited_for
from omni.types import Finish, PictureChunk, Prompt, Seen, Token

SEE_TIMEOUT_S: Final = 20.0
MAX_IMAGES: Final = 8


class Answer:
    """One answer as it is written: its text in pieces, and at the end why it ended."""

    def __init__(self, exchange: Exchange, first: Token, stops: tuple[str, ...]) -> None:
        self._exchange = exchange
        self._next: Token | None = first
        self._stops = StopFinder(stops)
        self.finish: Finish = "stop"
        self.usage = _usage(first)

    async def pieces(self, limit_s: float) -> AsyncIterator[str]:
        """Raises: StageError: the core failed or stalls."""
        while True:
            token = self._next or await self._exchange.take(Token, limit_s)
            self._next, self.usage = None, _usage(token)
            text = self._stops.push(token.text)
            if self._stops.is_found:
                token_finish: Finish | None = "stop"
            else:
                token_finish = token.finish
                text += self._stops.finish() if token_finish else ""
            if text:
                yield text
            if token_finish:
                self.finish = token_finish
                return


def router(gateway: Gateway, defaults: Defaults) -> APIRouter:
    routes = APIRouter()
    limits = gateway.config.deadlines

    @routes.post("/v1/chat/completions", response_model=Completion)
    async def complete(request: Request, body: ChatRequest) -> Response | Completion:
        """An answer at once, or, with `stream`, as server-sent events."""
        head = Head(model=defaults.model)
        async with AsyncExitStack() as stack:
            exchange = await stack.enter_async_context(gateway.exchange())

            async def begin() -> Answer:
                exchange.send(await _prompt(exchange, body, gateway))
                first = await exchange.take(Token, limits.first_token_s)
                return Answer(exchange, first, body.stops)

            answer = await while_waited_for(request, begin())
            pieces = answer.pieces(limits.next_token_s)
            if body.stream:
                events = server_sent(_events(head, answer, pieces, body))
                return Streamed(events, stack.pop_all(), EVENT_STREAM)
            text = await while_waited_for(request, _joined(pieces))
            choice = Choice(message=AnswerMessage(content=text), finish_reason=answer.finish)
            common = {"id": head.id, "created": head.created, "model": head.model}
            return Completion(**common, choices=[choice], usage=answer.usage)
        raise AssertionError  # the stack swallows nothing

    return routes


async def _joined(pieces: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in pieces])


async def _events(
    head: Head, answer: Answer, pieces: AsyncIterator[str], body: ChatRequest
) -> AsyncIterator[str]:
    yield json.dumps(head.chunk({"role": "assistant", "content": ""}))
    async for piece in pieces:
        yield json.dumps(head.chunk({"content": piece}))
    yield json.dumps(head.chunk({}, answer.finish))
    if body.stream_options and body.stream_options.include_usage:
        yield json.dumps(head.last_chunk(answer.usage))
    yield "[DONE]"


async def _prompt(exchange: Exchange, body: ChatRequest, gateway: Gateway) -> Prompt:
    think = gateway.config.brain.think
    messages = [m for wire in body.messages for m in await _messages(exchange, wire, gateway)]
    prefix = ""
    if body.continue_final_message:
        if messages[-1].role != "assistant" or len(messages) < 2:
            raise ProtocolError("The last message is not the assistant's.", param="messages")
        prefix = messages.pop().text
    asked = body.max_completion_tokens or body.max_tokens or think.context_tokens
    temperature = think.temperature if body.temperature is None else body.temperature
    return Prompt(
        *exchange.stamp,
        "chat",
        tuple(messages),
        min(asked, think.context_tokens),
        temperature,
        speech=None,
        prefix=prefix,
    )


async def _messages(exchange: Exchange, wire: ChatMessage, gateway: Gateway) -> list[Message]:
    text = await _text(exchange, wire, gateway)
    match wire.role:
        case "tool":
            return [Message("tool", text, call_id=wire.tool_call_id)]
        case "system" | "developer":
            return [Message("system", text)]
        case "user":
            return [Message("user", text)]
        case "assistant":
            calls = tuple(
                made_call(call.id, call.function.name, call.function.arguments)
                for call in wire.tool_calls or ()
            )
            return [Message("assistant", text, calls)]


async def _text(exchange: Exchange, wire: ChatMessage, gateway: Gateway) -> str:
    """A message's words; what its pictures show is told beside them, as in a conversation."""
    if wire.content is None or isinstance(wire.content, str):
        return wire.content or ""
    words = "\n".join(part.text for part in wire.content if isinstance(part, TextPart))
    images = [part for part in wire.content if isinstance(part, ImagePart)]
    if len(images) > MAX_IMAGES:
        raise ProtocolError(f"At most {MAX_IMAGES} pictures a message.", param="messages")
    told = []
    for image in images:
        seen = await _look(exchange, image, gateway)
        said = looking.answer(words, seen) if len(images) == 1 else ""
        shown = f"[The picture: {looking.summary(seen)}]"
        told.append(f"[Answer with this: {said}]" if said else shown)
    return " ".join(part for part in (words, *told) if part)


async def _look(exchange: Exchange, image: ImagePart, gateway: Gateway) -> Seen:
    if not gateway.config.brain.see.enabled:
        raise ProtocolError("This server does not see.", param="messages")
    encoded = decode_image(image.image_url.url, "image_url.url")
    exchange.send(PictureChunk(*exchange.stamp, "picture", encoded, 0, is_asked=True))
    return await exchange.take(Seen, SEE_TIMEOUT_S)


def _usage(token: Token) -> Usage:
    return Usage(
        prompt_tokens=token.prompt_tokens,
        completion_tokens=token.output_tokens,
        total_tokens=token.prompt_tokens + token.output_tokens,
        prompt_tokens_details=CachedTokens(cached_tokens=token.cached_tokens),
    )
