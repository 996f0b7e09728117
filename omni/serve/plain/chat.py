"""POST /v1/chat/completions: the core's words without a conversation around them."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Literal

from fastapi import APIRouter, Request, Response

from omni.protocol.realtime_session import Defaults
from omni.serve.exchange import Exchange
from omni.serve.gateway import Gateway
from omni.serve.plain.chat_prompt import chat_prompt
from omni.serve.plain.chat_wire import (
    AnswerMessage,
    CachedTokens,
    CalledFunction,
    ChatRequest,
    Choice,
    Completion,
    Head,
    ToolCall,
    Usage,
)
from omni.serve.plain.stops import StopFinder
from omni.serve.plain.streaming import EVENT_STREAM, Streamed, server_sent, while_waited_for
from omni.types import Called, Token

Piece = str | ToolCall


class Answer:
    """One answer as it is written: its words and calls, and at the end why it ended.

    Args:
        first: of what was written.
        limit_s: the core may pause no longer.
    """

    def __init__(
        self, exchange: Exchange, first: Token | Called, stops: tuple[str, ...], limit_s: float
    ) -> None:
        self._exchange = exchange
        self._next: Token | Called | None = first
        self._stops = StopFinder(stops)
        self._limit_s = limit_s
        self._has_calls = False
        self.finish: Literal["stop", "length", "tool_calls"] = "stop"
        self.usage = _usage(None)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Raises: StageError: the core failed or stalls."""
        is_over = False
        while not is_over:
            written = self._next or await self._exchange.take_written(self._limit_s)
            self._next = None
            if isinstance(written, Called):
                self._has_calls = True
                yield _call(written)
                continue
            self.usage = _usage(written)
            text = self._stops.push(written.text)
            if written.finish:
                text += self._stops.finish()
                self.finish = "tool_calls" if self._has_calls else written.finish
            is_over = written.finish is not None or self._stops.is_found
            if text:
                yield text


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
                exchange.send(await chat_prompt(exchange, body, gateway))
                first = await exchange.take_written(limits.first_token_s)
                return Answer(exchange, first, body.stops, limits.next_token_s)

            answer = await while_waited_for(request, begin())
            if body.stream:
                events = server_sent(_events(head, answer, body))
                return Streamed(events, stack.pop_all(), EVENT_STREAM)
            return await while_waited_for(request, _whole(head, answer))
        raise AssertionError  # the stack swallows nothing

    return routes


async def _whole(head: Head, answer: Answer) -> Completion:
    pieces = [piece async for piece in answer.pieces()]
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    message = AnswerMessage(content=text or (None if calls else ""), tool_calls=calls or None)
    choice = Choice(message=message, finish_reason=answer.finish)
    return Completion(
        id=head.id, created=head.created, model=head.model, choices=[choice], usage=answer.usage
    )


async def _events(head: Head, answer: Answer, body: ChatRequest) -> AsyncIterator[str]:
    yield json.dumps(head.chunk({"role": "assistant", "content": ""}))
    num_calls = 0
    async for piece in answer.pieces():
        if isinstance(piece, str):
            yield json.dumps(head.chunk({"content": piece}))
            continue
        call = {"index": num_calls, **piece.model_dump()}
        num_calls += 1
        yield json.dumps(head.chunk({"tool_calls": [call]}))
    yield json.dumps(head.chunk({}, answer.finish))
    if body.stream_options and body.stream_options.include_usage:
        yield json.dumps(head.last_chunk(answer.usage))
    yield "[DONE]"


def _call(called: Called) -> ToolCall:
    function = CalledFunction(name=called.tool.name, arguments=called.arguments)
    return ToolCall(id=f"call_{secrets.token_hex(10)}", function=function)


def _usage(token: Token | None) -> Usage:
    asked, written = (token.prompt_tokens, token.output_tokens) if token else (0, 0)
    cached = CachedTokens(cached_tokens=token.cached_tokens if token else 0)
    return Usage(
        prompt_tokens=asked,
        completion_tokens=written,
        total_tokens=asked + written,
        prompt_tokens_details=cached,
    )
