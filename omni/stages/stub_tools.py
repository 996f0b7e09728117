"""The stub's calls: it calls a tool that it must call, or whose name the user says.

Deterministic: strings are the user's words, numbers 1, flags true, all else is left out.
"""

import json
from typing import Any, Final

from omni.chat import Tool
from omni.dialog.tool_arguments import plain_name
from omni.types import Called, Prompt

_SAMPLES: Final[dict[str, Any]] = {"integer": 1, "number": 1, "boolean": True}


def stub_call(prompt: Prompt) -> Called | None:
    """What the reply to a prompt calls, if anything."""
    last = prompt.messages[-1]
    said = plain_name(last.text) if last.role == "user" else ""
    if prompt.prefix.startswith("<tool_call>"):
        named = [tool for tool in prompt.tools if f'"{tool.name}"' in prompt.prefix]
        called = [*named, *prompt.tools]
    else:
        called = [tool for tool in prompt.tools if plain_name(tool.name) in said]
    if not called:
        return None
    stamp = (prompt.session_id, prompt.epoch, prompt.unit_index, prompt.response_id)
    words = next((m.text for m in reversed(prompt.messages) if m.role == "user"), "")
    return Called(*stamp, called[0], json.dumps(_arguments(called[0], words)))


def _arguments(tool: Tool, words: str) -> dict[str, Any]:
    schema = json.loads(tool.parameters)
    samples = {"string": words, **_SAMPLES}
    known = schema.get("properties", {})
    wanted = {name: known.get(name, {}) for name in schema.get("required", ())}
    return {
        name: samples[part["type"]] for name, part in wanted.items() if part.get("type") in samples
    }
