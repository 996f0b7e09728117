"""The think stage with tools: what reaches the voice, the gateway and the model."""

from collections.abc import Sequence

import pytest

from omni.chat import Message, Tool, ToolCall
from omni.dialog.messages import UNANSWERED
from omni.dialog.tools import OPENING
from omni.stages.think import ThinkStage
from omni.types import Called, Chunk, Prompt, SpeechOptions, StageReport, Token
from tests.stages.writer import Messages, Writer

SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
WEATHER = Tool("get_weather", "Weather.", SCHEMA)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def prompt(
    messages: Sequence[Message] = (Message("user", "hi"),), prefix: str = "", max_tokens: int = 50
) -> Prompt:
    speech = SpeechOptions("v")
    return Prompt("s", 0, 0, "r", tuple(messages), max_tokens, 0.0, speech, prefix, (WEATHER,))


def write(
    *attempts: str, piece: int = 3, given: Prompt | None = None
) -> tuple[list[Chunk], Writer]:
    texts = iter(attempts)
    writer = Writer(lambda chat, prefix: next(texts), piece)
    stage = ThinkStage(lambda: writer)
    stage.load()
    stage.open("s")
    out = stage.step([given or prompt()])
    while stage.has_work():
        out += stage.step([])
    return out, writer


def words(out: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in out if isinstance(chunk, Token))


def calls(out: Sequence[Chunk]) -> list[tuple[str, str]]:
    return [(c.tool.name, c.arguments) for c in out if isinstance(c, Called)]


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_words_before_a_call_are_said_and_the_call_is_not(piece: int) -> None:
    out, writer = write(f"Let me look.\n{CALL}", piece=piece)
    assert words(out) == "Let me look."
    assert calls(out) == [("get_weather", '{"city": "Paris"}')]
    pauses = [chunk.is_pause for chunk in out if isinstance(chunk, Token)]
    assert pauses.count(True) == 1
    last = out[-1]
    assert isinstance(last, Token)
    assert last.finish == "stop"
    assert [tool["function"]["name"] for tool in writer.tools[0]] == ["get_weather"]


def test_a_reply_that_only_calls_has_nothing_to_say() -> None:
    out, _ = write(f"{CALL}\n{CALL.replace('Paris', 'Rome')} The weather is lovely.")
    assert words(out) == ""
    assert [arguments for _, arguments in calls(out)] == ['{"city": "Paris"}', '{"city": "Rome"}']
    assert not any(chunk.is_pause for chunk in out if isinstance(chunk, Token))


def test_a_wrong_call_is_shown_to_the_model_once() -> None:
    out, writer = write('{"name": "get_news", "arguments": {}}', CALL)
    assert calls(out) == [("get_weather", '{"city": "Paris"}')]
    wrong, error = writer.chats[1][-2:]
    assert wrong == {"role": "assistant", "content": '{"name": "get_news", "arguments": {}}'}
    assert error["role"] == "tool"
    assert "no function get_news" in error["content"]


@pytest.mark.parametrize("junk", ["<tool_call>junk</tool_call>", "<tools></tools>", "<tool_call>"])
def test_a_call_that_is_none_is_begun_for_the_model(junk: str) -> None:
    out, writer = write(f"Well.\n{junk}", 'get_weather", "arguments": {"city": "Rome"}}')
    assert writer.prefixes == ["", '<tool_call>\n{"name": "']
    assert writer.chats[0] == writer.chats[1]
    assert words(out) == "Well."
    assert calls(out) == [("get_weather", '{"city": "Rome"}')]


def test_words_after_a_wrong_call_are_words() -> None:
    out, _ = write('Well.\n{"name": "get_news", "arguments": {}}', "I cannot.")
    assert words(out) == "Well. I cannot."
    assert calls(out) == []


def test_two_wrong_calls_are_a_failure_that_says_why() -> None:
    out, writer = write('{"name": "a"}', '{"name": "b"}', "never asked for")
    assert words(out) == ""
    assert len(writer.chats) == 2
    (report,) = [chunk for chunk in out if isinstance(chunk, StageReport)]
    assert (report.stage, report.state) == ("think", "failed")
    assert "could not be called" in report.message


def history(answer: str, *, asks_again: bool = False) -> tuple[Message, ...]:
    """A question, a call to answer it, and what came of the call."""
    call = ToolCall("c1", "get_weather", '{"city":"Paris"}')
    messages = (
        Message("user", "Weather?"),
        Message("assistant", "", (call,)),
        Message("tool", answer, call_id="c1"),
    )
    return (*messages, Message("user", "Well?")) if asks_again else messages


def test_the_same_call_is_made_once_in_a_reply() -> None:
    out, _ = write("\n".join([CALL] * 10))
    assert calls(out) == [("get_weather", '{"city": "Paris"}')]


@pytest.mark.parametrize(
    "messages", [history("sunny"), history(UNANSWERED), history(UNANSWERED, asks_again=True)]
)
def test_what_was_called_already_is_not_called_again_but_spoken_of(
    messages: tuple[Message, ...],
) -> None:
    out, writer = write("\n".join([CALL] * 10), "It is sunny.", given=prompt(messages))
    assert calls(out) == []
    assert words(out) == "It is sunny."
    assert [len(tools) for tools in writer.tools] == [1, 0]


def test_words_before_a_repeated_call_are_enough() -> None:
    out, _ = write(f"It is sunny.\n{CALL}", given=prompt(history("sunny")))
    assert (words(out), calls(out)) == ("It is sunny.", [])
    assert isinstance(out[-1], Token)
    assert out[-1].finish == "stop"


def test_a_new_question_or_another_argument_may_be_called_for() -> None:
    out, _ = write(CALL, given=prompt(history("sunny", asks_again=True)))
    assert len(calls(out)) == 1
    out, _ = write(CALL.replace("Paris", "Rome"), given=prompt(history("sunny")))
    assert calls(out) == [("get_weather", '{"city": "Rome"}')]


def test_a_reply_that_must_call_may_call_again() -> None:
    forced = prompt(history("sunny"), prefix=OPENING)
    out, _ = write('get_weather", "arguments": {"city": "Paris"}}', given=forced)
    assert len(calls(out)) == 1


def test_a_reply_that_must_call_begins_as_a_call() -> None:
    begun = '<tool_call>\n{"name": "get_weather", "arguments": {'
    out, writer = write('"city": "Paris"}}', given=prompt(prefix=begun))
    assert writer.prefixes == [begun]
    assert calls(out) == [("get_weather", '{"city": "Paris"}')]
    assert words(out) == ""


def test_a_call_that_was_cut_off_is_none() -> None:
    class Short(Writer):
        def step(self):  # type: ignore[no-untyped-def]
            (step,) = super().step()
            self._running.clear()
            return [type(step)(step.session_id, step.request_id, step.text, "length", 10, 0)]

    stage = ThinkStage(lambda: Short(lambda *_: '{"name": "get_weather", "argu', 100))
    stage.load()
    stage.open("s")
    out = stage.step([prompt()])
    assert calls(out) == []
    (token,) = out
    assert isinstance(token, Token)
    assert token.finish == "length"


def test_calls_and_answers_are_told_in_the_templates_terms() -> None:
    called = ToolCall("1", "get_weather", '{"city": "Paris"}')
    messages = [
        Message("user", "Weather?"),
        Message("assistant", "Let me look.", (called,)),
        Message("tool", "sunny", call_id="1"),
    ]
    _, writer = write("Sunny.", given=prompt(messages))
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    expected: Messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"type": "function", "id": "1", "function": function}],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "1"},
    ]
    assert writer.chats[0] == expected
