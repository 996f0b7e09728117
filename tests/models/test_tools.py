"""The real 0.5B core with a tool: it calls, and then says what came of it."""

from collections.abc import Iterator

import pytest

from omni import assets
from omni.config import OmniConfig, load
from omni.models.core import Core, Failure, Request, Step
from omni.stages.think import ThinkStage
from tests.protocol.desk import Desk
from tests.protocol.test_realtime_tools import WEATHER, asked, output, transcript, update, wait

pytestmark = pytest.mark.models


def slot_core(config: OmniConfig) -> Core:
    from omni.models.embedded import gguf
    from omni.models.embedded.onnx_decoder import OnnxDecoder
    from omni.models.slot_core import SlotCore

    folder = assets.derived(config, "llm.gguf", gguf.RECIPE)
    if not folder.is_dir():
        gguf.convert(assets.resolve(config, "llm.gguf"), folder)
    decoder = OnnxDecoder(folder)
    dry = config.brain.think.dry_multiplier
    return SlotCore(decoder, decoder.tokenizer, decoder.end_ids, dry)


def llama_core(config: OmniConfig) -> Core:
    from omni.models.embedded.llama import LlamaCore

    dry = config.brain.think.dry_multiplier
    return LlamaCore(assets.resolve(config, "llm.gguf"), dry_multiplier=dry)


@pytest.fixture(scope="module", params=[slot_core, llama_core], ids=["slots", "llama"])
def core(embedded: OmniConfig, request: pytest.FixtureRequest) -> Iterator[Core]:
    made: Core = request.param(embedded)
    yield made
    made.close()


def desk_of(core: Core) -> Desk:
    """A client of a server with this core and the stub's other stages."""
    core.forget("s")
    think = ThinkStage(lambda: core)
    think.load()
    think.open("s")
    desk = Desk(load("stub", ["brain.think.max_reply_tokens=60"]))
    desk.talk.stages["think"] = think
    return desk


def test_it_does_not_go_in_circles(core: Core) -> None:
    ids = core.encode_chat([{"role": "user", "content": "Say the word banana three times."}])
    core.submit(Request("s", "r", tuple(ids), max_tokens=80))
    steps: list[Step | Failure] = []
    while core.has_work():
        steps += core.step()
    assert isinstance(steps[-1], Step)
    assert steps[-1].finish_reason == "stop"  # greedy, it would say nothing else to the end


def test_it_calls_a_tool_and_tells_its_answer(core: Core) -> None:
    desk = desk_of(core)
    desk.send(update(tools=[WEATHER]))
    asked(desk)
    done = desk.last("response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("get_weather", '{"city": "Paris"}')
    assert [i["type"] for i in desk.last("response.done")["response"]["output"]] == [
        "function_call"
    ]
    answer = '{"temperature_c": 18, "sky": "sunny"}'
    desk.send(output(done["call_id"], answer), {"type": "response.create"})
    wait(desk, 20)
    assert "18" in transcript(desk)
    assert "sunny" in transcript(desk)
    assert "{" not in transcript(desk)


def test_a_tool_that_must_be_called_is(core: Core) -> None:
    desk = desk_of(core)
    desk.send(update(tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"}))
    part = {"type": "input_text", "text": "Hello there, I live in Rome."}
    item = {"type": "message", "role": "user", "content": [part]}
    desk.send({"type": "conversation.item.create", "item": item}, {"type": "response.create"})
    wait(desk, 1)
    done = desk.last("response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("get_weather", '{"city": "Rome"}')
