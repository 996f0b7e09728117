"""What holds of everything that a Realtime client is told, in whatever conversation."""

from typing import Any

PLACED = (
    "response.content_part.",
    "response.output_text.",
    "response.output_audio.",
    "response.output_audio_transcript.",
)
TEXTS = {
    "response.output_text.delta": "response.output_text.done",
    "response.output_audio_transcript.delta": "response.output_audio_transcript.done",
}


class Laws:
    """Reads events one by one, and asserts."""

    def __init__(self) -> None:
        self._event_ids: set[str] = set()
        self._items: list[str] = []  # the conversation, in order
        self._ever: set[str] = set()
        self._committed: set[str] = set()
        self._words: set[tuple[str, int]] = set()  # parts whose transcript is final
        self._open: dict[str, dict[str, str]] = {}  # response → item → how far it is
        self._closed: set[str] = set()
        self._deltas: dict[tuple[str, str], str] = {}
        self._is_speaking = False

    def read(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        assert event["event_id"] not in self._event_ids
        self._event_ids.add(event["event_id"])
        if kind.startswith("response."):
            self._response(kind, event)
        elif kind.startswith("conversation.item."):
            self._item(kind.removeprefix("conversation.item."), event)
        elif kind == "input_audio_buffer.committed":
            assert event["item_id"] not in self._ever
            self._committed.add(event["item_id"])
            assert event["previous_item_id"] == (self._items[-1] if self._items else None)
        elif kind == "input_audio_buffer.speech_stopped":
            assert self._is_speaking
            self._is_speaking = False
        elif kind == "input_audio_buffer.speech_started":
            assert not self._is_speaking
            self._is_speaking = True
        elif kind == "input_audio_buffer.cleared":
            self._is_speaking = False

    def at_rest(self) -> None:
        """Nothing is under way: all that was begun has ended."""
        assert not self._open

    # ---- the conversation

    def _item(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "added":
            item_id, before = event["item"]["id"], event["previous_item_id"]
            assert item_id not in self._ever
            assert before is None or before in self._items
            self._items.insert(self._items.index(before) + 1 if before else 0, item_id)
            self._ever.add(item_id)
        elif kind == "done":
            place = self._items.index(event["item"]["id"])
            assert event["previous_item_id"] == (self._items[place - 1] if place else None)
        elif kind == "deleted":
            self._items.remove(event["item_id"])
        elif kind in ("retrieved", "truncated"):
            item_id = event["item"]["id"] if kind == "retrieved" else event["item_id"]
            assert item_id in self._items
        elif kind.endswith((".completed", ".failed")):
            assert event["item_id"] in self._items
            part = (event["item_id"], event["content_index"])
            assert part not in self._words
            self._words.add(part)

    # ---- responses

    def _response(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "response.created":
            response_id = event["response"]["id"]
            assert response_id not in self._open.keys() | self._closed
            assert event["response"]["status"] == "in_progress"
            self._open[response_id] = {}
        elif kind == "response.done":
            items = self._open.pop(event["response"]["id"])
            assert set(items.values()) <= {"done"}
            assert [item["id"] for item in event["response"]["output"]] == list(items)
            assert event["response"]["status"] != "in_progress"
            self._closed.add(event["response"]["id"])
        else:
            self._within(kind, event, self._open[event["response_id"]])

    def _within(self, kind: str, event: dict[str, Any], items: dict[str, str]) -> None:
        if kind == "response.output_item.added":
            assert event["item"]["id"] not in items
            assert event["output_index"] == len(items)
            items[event["item"]["id"]] = "added"
        elif kind == "response.output_item.done":
            assert items[event["item"]["id"]] in ("added", "part done")
            items[event["item"]["id"]] = "done"
        elif kind == "response.content_part.added":
            assert items[event["item_id"]] == "added"
            items[event["item_id"]] = "part"
        elif kind == "response.content_part.done":
            assert items[event["item_id"]] == "part"
            items[event["item_id"]] = "part done"
        elif kind.startswith(PLACED):
            assert items[event["item_id"]] == "part"
            self._text(kind, event)

    def _text(self, kind: str, event: dict[str, Any]) -> None:
        key = (event["item_id"], TEXTS.get(kind, kind))
        if kind in TEXTS:
            self._deltas[key] = self._deltas.get(key, "") + event["delta"]
        elif kind in TEXTS.values():
            whole = event.get("text", event.get("transcript"))
            said = self._deltas.get(key, "").strip()
            assert said.startswith(whole) or whole.startswith(said)
