"""How an OpenAI request becomes a prompt of the think stage, pictures told in words included."""

from typing import Final

from omni.chat import Message
from omni.dialog import looking
from omni.dialog.messages import made_call
from omni.dialog.tools import ToolOptions
from omni.errors import ProtocolError
from omni.protocol.realtime_items import decode_image
from omni.protocol.realtime_tools import NamedFunction, tool_options
from omni.serve.exchange import Exchange
from omni.serve.gateway import Gateway
from omni.serve.plain.chat_wire import ChatMessage, ChatRequest, ImagePart, NamedChoice, TextPart
from omni.types import PictureChunk, Prompt, Seen

SEE_TIMEOUT_S: Final = 20.0
MAX_IMAGES: Final = 8


async def chat_prompt(exchange: Exchange, body: ChatRequest, gateway: Gateway) -> Prompt:
    """The prompt that a request comes to; its pictures are looked at here.

    Raises:
        ProtocolError, MediaError: it cannot be done; names the field.
    """
    think = gateway.config.brain.think
    messages = [m for wire in body.messages for m in await _messages(exchange, wire, gateway)]
    tools = _tools(body)
    prefix = tools.opening
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
        tools=tools.offered,
    )


def _tools(body: ChatRequest) -> ToolOptions:
    offered = [tool.function for tool in body.tools or ()]
    choice = body.tool_choice or "auto"
    if isinstance(choice, NamedChoice):
        named = NamedFunction(type="function", name=choice.function.name)
        return tool_options(offered, named, "tools")
    return tool_options(offered, choice, "tools")


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
