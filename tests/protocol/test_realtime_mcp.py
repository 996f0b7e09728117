"""MCP servers as a Realtime client meets them, on virtual time; the servers are scripted."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from omni.chat import Tool
from omni.config import OmniConfig, load
from omni.errands import ErrandError, ListTools, RunTool, ToolRan, ToolsListed
from omni.stages.think import ThinkStage
from tests.protocol.desk import Desk, kinds
from tests.stages.writer import Messages, Writer

CALL = '<tool_call>\n{"name": "search", "arguments": {"words": "tea"}}\n</tool_call>'
SCHEMA = '{"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}'
SEARCH = Tool("search", "Finds things.", SCHEMA, is_read_only=True)
BUY = Tool("buy", "Buys things.", SCHEMA)
SERVER = {
    "type": "mcp",
    "server_label": "shop",
    "server_url": "https://shop.example/mcp",
    "authorization": "secret-token",
    "headers": {"X-Key": "secret-key", "Host": "elsewhere"},
    "require_approval": "never",
}
RUNNING = [
    "response.output_item.added",
    "conversation.item.added",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.output_item.done",
    "response.mcp_call.in_progress",
]
SPOKEN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
]
DELTAS = {"response.output_audio.delta", "response.output_audio_transcript.delta"}


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def script(chat: Messages, prefix: str) -> str:
    """Searches, then tells what was found."""
    last = [message for message in chat if message["role"] != "system"][-1]
    if last["role"] == "tool":
        return f"There is {last['content']}."
    return CALL if "tea" in last["content"] else "I am here."


class Shop:
    """A desk, and the server behind it, which answers when it is told to."""

    def __init__(
        self, config: OmniConfig, write: Callable[[Messages, str], str] = script, **server: Any
    ) -> None:
        self.desk, self.writer = Desk(config), Writer(write)
        think = ThinkStage(lambda: self.writer)
        think.load()
        think.open("s")
        self.desk.talk.stages["think"] = think
        self.told = self.desk.send(update(tools=[{**SERVER, **server}]))

    def listing(self) -> ListTools:
        (errand,) = self.desk.talk.session.errands()
        assert isinstance(errand, ListTools)
        return errand

    def offer(self, *tools: Tool) -> list[dict[str, Any]]:
        return self.learn(ToolsListed(self.listing().item_id, tools or (SEARCH, BUY)))

    def runs(self) -> list[RunTool]:
        return [e for e in self.desk.talk.session.errands() if isinstance(e, RunTool)]

    def learn(self, result: ToolsListed | ToolRan) -> list[dict[str, Any]]:
        before = len(self.desk.said)
        self.desk.talk.do(lambda session: session.learn(result))
        self.desk.update()
        return self.desk.said[before:]

    def ask(self, words: str = "Is there tea?", seconds: float = 0.1) -> list[dict[str, Any]]:
        before = len(self.desk.said)
        part = {"type": "input_text", "text": words}
        item = {"type": "message", "role": "user", "content": [part]}
        self.desk.send({"type": "conversation.item.create", "item": item})
        self.desk.send({"type": "response.create"})
        self.wait(seconds)
        return self.desk.said[before + 2 :]

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        before = len(self.desk.said)
        self.desk.talk.quiet(seconds)
        self.desk.update()
        return self.desk.said[before:]


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def names(events: list[dict[str, Any]]) -> list[str]:
    return [name for name in kinds(events) if name not in DELTAS]


def transcripts(events: list[dict[str, Any]]) -> list[str]:
    kind = "response.output_audio_transcript.done"
    return [event["transcript"] for event in events if event["type"] == kind]


def test_the_tools_of_a_server_are_listed(config: OmniConfig) -> None:
    shop = Shop(config)
    assert names(shop.told) == [
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
    ] or names(shop.told) == [
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "session.updated",
    ]
    said = shop.offer()
    assert names(said) == ["conversation.item.done", "mcp_list_tools.completed"]
    item = said[0]["item"]
    assert (item["type"], item["server_label"]) == ("mcp_list_tools", "shop")
    search, buy = item["tools"]
    assert search["input_schema"] == json.loads(SCHEMA)
    assert search["annotations"] == {"readOnlyHint": True}
    assert "annotations" not in buy
    shop.ask()
    offered = [tool["function"]["name"] for tool in shop.writer.tools[-1]]
    assert offered == ["search", "buy"]


def test_secrets_are_not_echoed_and_headers_of_ours_not_taken(config: OmniConfig) -> None:
    shop = Shop(config)
    assert "secret" not in json.dumps(shop.desk.said)
    server = shop.listing().server
    assert dict(server.headers) == {"Authorization": "Bearer secret-token", "X-Key": "secret-key"}
    assert "secret" not in repr(server)


def test_the_order_of_a_servers_call_and_of_what_follows_by_itself(config: OmniConfig) -> None:
    shop = Shop(config)
    shop.offer()
    said = shop.ask()
    assert names(said) == ["response.created", *RUNNING, "response.done", "rate_limits.updated"]
    added = shop.desk.last("response.output_item.added")["item"]
    (item,) = shop.desk.last("response.done")["response"]["output"]
    assert (added["id"], added["arguments"], added["output"]) == (item["id"], "", None)
    assert (item["type"], item["name"], item["output"]) == ("mcp_call", "search", None)
    assert json.loads(item["arguments"]) == {"words": "tea"}
    (run,) = shop.runs()
    assert (run.item_id, run.tool.remote_name, run.server.label) == (item["id"], "search", "shop")
    shop.learn(ToolRan(item["id"], "green tea"))
    said = [*shop.desk.said[-2:], *shop.wait(4)]
    assert names(said) == ["response.mcp_call.completed", "conversation.item.done", *SPOKEN]
    assert said[1]["item"]["output"] == "green tea"
    assert transcripts(said) == ["There is green tea."]
    (told,) = shop.desk.send({"type": "conversation.item.retrieve", "item_id": item["id"]})
    assert told["item"] == said[1]["item"]


def test_what_is_typed_at_once_waits_for_the_list(config: OmniConfig) -> None:
    shop = Shop(config)
    assert "response.created" not in names(shop.ask())
    shop.offer()
    shop.wait(0.1)
    assert shop.runs()


def test_what_is_said_at_once_waits_for_the_list(config: OmniConfig) -> None:
    shop = Shop(config)
    assert "response.created" not in names(shop.desk.ask(1.0, wait_s=2.0))
    shop.offer()
    assert transcripts(shop.wait(3)) == ["I am here."]


def test_the_wait_is_filled_once_and_only_in_silence(config: OmniConfig) -> None:
    shop = Shop(config)
    shop.offer()
    shop.ask()
    assert transcripts(shop.wait(0.6)) == []
    assert transcripts(shop.wait(2.5)) == [config.tools.filler]
    assert transcripts(shop.wait(5)) == []
    (run,) = shop.runs()
    shop.learn(ToolRan(run.item_id, "black tea"))
    assert transcripts(shop.wait(3)) == ["There is black tea."]


def test_a_written_conversation_has_no_fillers(config: OmniConfig) -> None:
    shop = Shop(config)
    shop.offer()
    shop.desk.send(update(output_modalities=["text"]))
    shop.ask()
    assert "response.created" not in names(shop.wait(5))


def test_a_tool_that_must_be_called_is_called_once(config: OmniConfig) -> None:
    def write(chat: Messages, prefix: str) -> str:
        return 'search", "arguments": {"words": "tea"}}' if prefix else script(chat, prefix)

    shop = Shop(config, write)
    shop.offer()
    shop.desk.send(update(tool_choice="required"))
    shop.ask()
    (run,) = shop.runs()
    shop.learn(ToolRan(run.item_id, "herbal tea"))
    assert transcripts(shop.wait(6)) == ["There is herbal tea."]
    assert shop.runs() == []


def test_the_conversation_goes_on_and_the_answer_waits_for_its_turn(config: OmniConfig) -> None:
    shop = Shop(config)
    shop.offer()
    shop.ask()
    (run,) = shop.runs()
    shop.desk.talk.speak(1.0, "Hello?")
    shop.learn(ToolRan(run.item_id, "white tea"))
    assert "response.created" not in names(shop.wait(0.1))
    said = shop.wait(8)
    assert transcripts(said) == ["I am here."]
    assert shop.writer.chats[-1][-2]["content"] == "white tea"
    assert not [event for event in said if event["type"] == "error"]


def test_an_answer_during_a_reply_is_told_after_it(config: OmniConfig) -> None:
    shop = Shop(
        config, lambda chat, _: "word " * 30 if "long" in str(chat[-1]) else script(chat, _)
    )
    shop.offer()
    shop.ask()
    (run,) = shop.runs()
    shop.ask("Say something long", 1.0)
    shop.learn(ToolRan(run.item_id, "red tea"))
    said = shop.wait(15)
    assert transcripts(said)[-1] == "There is red tea."
    made = [e["type"] for e in said if e["type"] in ("response.created", "response.done")]
    assert made == ["response.done", "response.created", "response.done"]


@pytest.mark.parametrize(
    ("error", "wire"),
    [
        (
            ErrandError("tool_execution_error", "sold out"),
            {"type": "tool_execution_error", "message": "sold out"},
        ),
        (
            ErrandError("http_error", "it cannot be reached", 502),
            {"type": "http_error", "message": "it cannot be reached", "code": 502},
        ),
    ],
)
def test_a_call_that_fails_is_told_too(
    config: OmniConfig, error: ErrandError, wire: dict[str, Any]
) -> None:
    shop = Shop(config)
    shop.offer()
    shop.ask()
    (run,) = shop.runs()
    shop.learn(ToolRan(run.item_id, error=error))
    failed, done = shop.desk.said[-2:]
    assert failed["type"] == "response.mcp_call.failed"
    assert (done["item"]["error"], done["item"]["output"]) == (wire, None)
    assert transcripts(shop.wait(6)) == [f"There is Error: {error.message}."]


def test_a_dead_server_is_an_error_and_the_session_goes_on(config: OmniConfig) -> None:
    shop = Shop(config)
    error = ErrandError("http_error", "it cannot be reached", 502)
    said = shop.learn(ToolsListed(shop.listing().item_id, error=error))
    assert names(said) == ["conversation.item.done", "mcp_list_tools.failed", "error"]
    assert said[2]["error"]["code"] == "mcp_list_tools_failed"
    assert transcripts(shop.ask("Hello?", 3)) == ["I am here."]


def test_a_call_waits_for_approval(config: OmniConfig) -> None:
    shop = Shop(config, require_approval="always")
    shop.offer()
    said = shop.ask()
    assert names(said) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    (request,) = shop.desk.last("response.done")["response"]["output"]
    assert (request["type"], request["name"]) == ("mcp_approval_request", "search")
    assert shop.runs() == []
    said = shop.desk.send(approval(request["id"], approve=True))
    assert names(said) == [
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.added",
        "response.mcp_call.in_progress",
    ]
    call = said[2]["item"]
    assert (call["type"], call["approval_request_id"]) == ("mcp_call", request["id"])
    (run,) = shop.runs()
    shop.learn(ToolRan(run.item_id, "mint tea"))
    assert transcripts(shop.wait(4)) == ["There is mint tea."]
    called = [message for message in shop.writer.chats[-1] if "tool_calls" in message]
    assert [len(message["tool_calls"]) for message in called] == [1]
    (again,) = shop.desk.send(approval(request["id"], approve=True))
    assert again["error"]["param"] == "item.approval_request_id"


def test_a_call_that_is_not_approved_does_not_run(config: OmniConfig) -> None:
    shop = Shop(config, require_approval="always")
    shop.offer()
    shop.ask()
    (request,) = shop.desk.last("response.done")["response"]["output"]
    shop.desk.send(approval(request["id"], approve=False, reason="Too dear."))
    assert shop.runs() == []
    said = transcripts(shop.wait(6))
    assert said == ["There is The user did not allow this call. Too dear.."]


def approval(request_id: str, **fields: Any) -> dict[str, Any]:
    item = {"type": "mcp_approval_response", "approval_request_id": request_id, **fields}
    return {"type": "conversation.item.create", "item": item}


@pytest.mark.parametrize(
    ("wish", "is_asked"),
    [
        (None, True),
        ("never", False),
        ({"never": {"tool_names": ["search"]}}, False),
        ({"never": {"read_only": True}}, False),
        ({"never": {"tool_names": ["buy"]}}, True),
        ({"always": {"tool_names": ["buy"]}}, False),
        ({"always": {"read_only": True}}, True),
    ],
)
def test_which_calls_wait_for_approval(config: OmniConfig, wish: Any, is_asked: bool) -> None:
    shop = Shop(config, require_approval=wish)
    shop.offer()
    shop.ask()
    assert bool(shop.runs()) is not is_asked


@pytest.mark.parametrize(
    ("allowed", "offered"),
    [
        (None, ["search", "buy"]),
        (["buy"], ["buy"]),
        ({"tool_names": ["search", "nothing"]}, ["search"]),
        ({"read_only": True}, ["search"]),
    ],
)
def test_only_allowed_tools_are_offered(
    config: OmniConfig, allowed: Any, offered: list[str]
) -> None:
    shop = Shop(config, allowed_tools=allowed)
    shop.offer()
    shop.ask("Hello?")
    assert [tool["function"]["name"] for tool in shop.writer.tools[-1]] == offered


def test_tools_of_one_name_keep_apart(config: OmniConfig) -> None:
    desk = Desk(config)
    own = {"type": "function", "name": "search", "parameters": json.loads(SCHEMA)}
    desk.send(update(tools=[own, SERVER]))
    (errand,) = desk.talk.session.errands()
    desk.talk.do(lambda session: session.learn(ToolsListed(errand.item_id, (SEARCH,))))
    choice = {"type": "mcp", "server_label": "shop", "name": "search"}
    desk.send({"type": "response.create", "response": {"tool_choice": choice}})
    desk.talk.quiet(1)
    (run,) = desk.talk.session.errands()
    assert isinstance(run, RunTool)
    assert (run.tool.name, run.tool.remote_name) == ("shop_search", "search")


def test_a_model_that_calls_for_ever_is_stopped(config: OmniConfig) -> None:
    shop = Shop(config, lambda chat, _: CALL if shop_is_offered(chat) else "Enough.")

    def shop_is_offered(chat: Messages) -> bool:
        return bool(shop.writer.tools[-1])

    shop.offer()
    shop.ask()
    for _ in range(config.tools.max_rounds):
        for run in shop.runs():
            shop.learn(ToolRan(run.item_id, "more"))
        shop.wait(2)
    assert shop.runs() == []
    assert transcripts(shop.desk.said)[-1] == "Enough."


def test_too_many_calls_at_once_are_refused(config: OmniConfig) -> None:
    limit = config.tools.max_calls
    calls = "".join(CALL.replace("tea", f"tea {n}") for n in range(limit + 1))
    shop = Shop(config, lambda chat, _: calls if len(chat) == 2 else "All there.")
    shop.offer()
    said = shop.ask(seconds=1)
    runs = shop.runs()
    assert len(runs) == limit
    assert [e["type"] for e in said].count("response.mcp_call.failed") == 1
    for run in runs[1:]:
        shop.learn(ToolRan(run.item_id, "some"))
    assert "response.created" not in names(shop.wait(0.5))
    shop.learn(ToolRan(runs[0].item_id, "more"))
    assert transcripts(shop.wait(3))[-1:] == ["All there."]
    assert names(shop.desk.said).count("error") == 0


def test_a_server_that_was_dropped_is_not_used(config: OmniConfig) -> None:
    shop = Shop(config)
    listing = shop.listing()
    shop.desk.send(update(tools=[]))
    assert shop.learn(ToolsListed(listing.item_id, (SEARCH,))) == []
    shop.ask("Hello?")
    assert shop.writer.tools[-1] == []


def test_the_same_server_is_asked_once(config: OmniConfig) -> None:
    shop = Shop(config)
    shop.offer()
    shop.desk.send(update(tools=[{**SERVER, "allowed_tools": ["buy"]}], instructions="Be brief."))
    assert shop.desk.talk.session.errands() == []
    shop.ask("Hello?")
    assert [tool["function"]["name"] for tool in shop.writer.tools[-1]] == ["buy"]


def test_a_client_may_have_the_wait_for_its_own_tools_filled(config: OmniConfig) -> None:
    own = {"type": "function", "name": "search", "parameters": json.loads(SCHEMA)}
    for wish, fillers in ((None, []), (True, [config.tools.filler])):
        shop = Shop(config)
        shop.offer()
        (told,) = shop.desk.send(update(tools=[own], tool_filler=wish))
        assert told["session"].get("tool_filler") == wish
        shop.ask()
        assert transcripts(shop.wait(4)) == fillers
        call_id = shop.desk.last("response.function_call_arguments.done")["call_id"]
        item = {"type": "function_call_output", "call_id": call_id, "output": "oolong"}
        shop.desk.send({"type": "conversation.item.create", "item": item})
        shop.desk.send({"type": "response.create"})
        assert transcripts(shop.wait(4)) == ["There is oolong."]
