"""What is made of a call that a small model wrote."""

import json
from typing import Any

import pytest

from omni.chat import Tool
from omni.dialog.tools import (
    MAX_TOOLS,
    Call,
    Fault,
    Toolbox,
    ToolChoice,
    ToolOptions,
    check_tools,
)
from omni.errors import ProtocolError


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name, f"Does {name}.", json.dumps(schema))


WEATHER = tool(
    "get_weather",
    ("city",),
    city={"type": "string"},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
    days={"type": "integer", "minimum": 1},
    hourly={"type": "boolean"},
    tags={"type": "array", "items": {"type": "string"}},
    at={"type": "object", "properties": {"hour": {"type": "number"}}},
)
BOX = Toolbox([WEATHER, tool("stop")])


def call(arguments: str) -> str:
    return f'{{"name": "get_weather", "arguments": {arguments}}}'


SURE = [
    (call('{"city": "Paris"}'), {"city": "Paris"}),
    (call('{"city": "Paris"'), {"city": "Paris"}),
    (call("{'city': 'Paris',}"), {"city": "Paris"}),
    (call('"{\\"city\\": \\"Paris\\"}"'), {"city": "Paris"}),
    ('{"name": "get-Weather", "parameters": {"City": "Paris"}}', {"city": "Paris"}),
    ('{"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}', {"city": "Rome"}),
    ('{"name": "get_weather", "city": "Paris"}', {"city": "Paris"}),
    (call('{"location": "Paris"}'), {"city": "Paris"}),
    (call('{"city": "Paris", "mood": "good"}'), {"city": "Paris"}),
    (call('{"city": "Paris", "unit": "Celsius"}'), {"city": "Paris", "unit": "celsius"}),
    (call('{"city": "Paris", "unit": null}'), {"city": "Paris"}),
    (call('{"city": "Paris", "days": "3"}'), {"city": "Paris", "days": 3}),
    (call('{"city": "Paris", "days": 3.0}'), {"city": "Paris", "days": 3}),
    (call('{"city": 75001}'), {"city": "75001"}),
    (call('{"city": ["Paris"]}'), {"city": "Paris"}),
    (call('{"city": "Paris", "hourly": "yes"}'), {"city": "Paris", "hourly": True}),
    (call('{"city": "Paris", "tags": "sun"}'), {"city": "Paris", "tags": ["sun"]}),
    (
        call('{"city": "Paris", "at": "{\\"hour\\": \\"9\\"}"}'),
        {"city": "Paris", "at": {"hour": 9}},
    ),
]
UNSURE = [
    ("Paris", "A call is"),
    ('{"arguments": {}}', "A call is"),
    ('{"name": "get_news", "arguments": {}}', "no function get_news. There are: get_weather, stop"),
    (call("[1, 2]"), "JSON object"),
    (call("{}"), "'city' is a required property"),
    (call('{"a": "Paris", "b": "Rome"}'), "'city' is a required property"),
    (call('{"city": "Paris", "unit": "kelvin"}'), "unit: 'kelvin' is not one of"),
    (call('{"city": "Paris", "days": "soon"}'), "days: 'soon' is not of type 'integer'"),
    (call('{"city": "Paris", "days": 0}'), "days: 0 is less than the minimum of 1"),
]


@pytest.mark.parametrize(("written", "arguments"), SURE)
def test_what_is_surely_meant_is_put_right(written: str, arguments: dict[str, Any]) -> None:
    read = BOX.read(written)
    assert isinstance(read, Call)
    assert (read.tool, json.loads(read.arguments)) == (WEATHER, arguments)


@pytest.mark.parametrize(("written", "fault"), UNSURE)
def test_what_is_not_is_told_to_the_model(written: str, fault: str) -> None:
    read = BOX.read(written)
    assert isinstance(read, Fault)
    assert fault in read.message


def test_a_tool_that_takes_anything_gets_it() -> None:
    free = Tool("note", "", '{"type": "object", "additionalProperties": true}')
    read = Toolbox([free]).read('{"name": "note", "arguments": {"a": [1], "b": null}}')
    assert isinstance(read, Call)
    assert json.loads(read.arguments) == {"a": [1], "b": None}


def test_a_default_stands_in_for_what_is_missing() -> None:
    box = Toolbox([tool("wait", ("s",), s={"type": "integer", "default": 5})])
    read = box.read('{"name": "wait", "arguments": {}}')
    assert isinstance(read, Call)
    assert json.loads(read.arguments) == {"s": 5}


def test_a_schema_fetches_nothing_and_matches_no_pattern() -> None:
    """Both would let a client spend our time, or our address."""
    slow = tool("slow", ("x",), x={"type": "string", "pattern": "(a+)+$"})
    read = Toolbox([slow]).read(json.dumps({"name": "slow", "arguments": {"x": "a" * 60 + "!"}}))
    assert isinstance(read, Call)
    far = Tool("far", "", '{"$ref": "http://127.0.0.1:9/schema.json"}')
    with pytest.raises(ProtocolError):
        check_tools([far], "session.tools")


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([tool("a"), tool("a")], "session.tools.1.name"),
        ([Tool("", "")], "session.tools.0.name"),
        ([Tool("a", "", '{"type": "thing"}')], "session.tools.0.parameters"),
        ([Tool("a", "", '{"$ref": "#"}')], "session.tools.0.parameters"),
        ([Tool("a", "", '{"type": "' + "x" * 40_000 + '"}')], "session.tools.0.parameters"),
        ([tool(f"t{n}") for n in range(MAX_TOOLS + 1)], "session.tools"),
    ],
)
def test_tools_that_cannot_be_offered_name_their_field(tools: list[Tool], param: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        check_tools(tools, "session.tools")
    assert raised.value.param == param


def test_a_reply_that_must_call_is_begun_as_a_call() -> None:
    tools = (WEATHER, tool("stop"))
    assert ToolOptions(tools).opening == ""
    assert ToolOptions(tools, ToolChoice("none")).offered == ()
    assert ToolOptions(tools, ToolChoice("required")).opening == '<tool_call>\n{"name": "'
    named = '<tool_call>\n{"name": "stop", "arguments": {'
    assert ToolOptions(tools, ToolChoice("required", "stop")).opening == named
    assert ToolOptions(tools, ToolChoice("required", "missing")).opening == ""
    assert ToolOptions(tools[1:], ToolChoice("required")).opening == named
    assert ToolOptions((), ToolChoice("required")).opening == ""
