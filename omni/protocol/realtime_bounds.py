"""What a client that came with a lent secret may still change of its session.

Hides which settings are privileges. Law: what the secret set of them stays as it was, or gets
narrower; a client that asks for more is not refused, it is told the effective value.
"""

import json
from typing import Any, Final

from omni.errors import OmniError
from omni.protocol.realtime_commands import parse_object

_FIXED: Final = ("type", "model", "instructions", "prompt", "tools", "tool_choice")
_LIMIT: Final = "max_output_tokens"
_NARROWED: Final = ("session.update", "response.create", "conversation.item.create")


class Bounds:
    """Args:
    session_json: the settings that the secret was bound to.
    """

    def __init__(self, session_json: str) -> None:
        given = {key: value for key, value in parse_object(session_json).items() if value}
        self._fixed = {key: given[key] for key in _FIXED if key in given}
        self._max_tokens = given.get(_LIMIT) if isinstance(given.get(_LIMIT), int) else None

    def narrow(self, text: str | bytes) -> str | bytes:
        """A client's message without what it may not ask for; one that is wrong stays as it is."""
        try:
            event = parse_object(text)
        except OmniError:
            return text
        if event.get("type") not in _NARROWED:
            return text
        for name in ("session", "response"):
            if isinstance(wish := event.get(name), dict):
                event[name] = self._narrowed(wish)
        if isinstance(item := event.get("item"), dict):
            event["item"] = self._demoted(item)
        return json.dumps(event)

    def narrow_session(self, text: str) -> str:
        """The same for settings that come beside an offer. Raises ProtocolError."""
        return json.dumps(self._narrowed(parse_object(text)))

    def _narrowed(self, wish: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in wish.items() if key not in self._fixed}
        if "type" in wish and "type" in self._fixed:
            kept["type"] = self._fixed["type"]
        if self._max_tokens is not None and _LIMIT in wish:
            asked = wish[_LIMIT]
            is_less = isinstance(asked, int) and asked < self._max_tokens
            kept[_LIMIT] = asked if is_less else self._max_tokens
        if isinstance(items := wish.get("input"), list):
            kept["input"] = [self._demoted(i) if isinstance(i, dict) else i for i in items]
        return kept

    def _demoted(self, item: dict[str, Any]) -> dict[str, Any]:
        """A system message is an instruction by another name."""
        if "instructions" in self._fixed and item.get("role") in ("system", "developer"):
            return {**item, "role": "user"}
        return item
