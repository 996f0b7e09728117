"""A Realtime client on virtual time: a view, a session and the stub's stages, without a network.

Every server event is checked strictly against the openai package's own types as it is read.
"""

import base64
import json
import typing
from dataclasses import replace
from typing import Any

import numpy as np
from openai.types.realtime import realtime_server_event
from pydantic import BaseModel, ValidationError

from omni.config import OmniConfig
from omni.protocol.realtime import RealtimeView
from omni.protocol.realtime_state import Transport
from tests.dialog.talk import Talk

_UNION = typing.get_args(realtime_server_event.RealtimeServerEvent)
SERVER_MODELS: dict[str, type[BaseModel]] = {
    name: model
    for model in (typing.get_args(_UNION[0]) or _UNION)
    for name in typing.get_args(model.model_fields["type"].annotation)
}


def complaint(event: dict[str, Any]) -> str | None:
    """What the openai package has against a server event: unknown, missing, wrong or extra."""
    model = SERVER_MODELS.get(event["type"])
    if model is None:
        return f"unknown event {event['type']}"
    try:
        extra = model.model_validate(event).model_extra
    except ValidationError as error:
        return f"{event['type']}: {error}"
    return f"{event['type']} has extra fields {sorted(extra)}" if extra else None


class Desk:
    """One client at its desk. `said` is all it was told, oldest first."""

    def __init__(
        self,
        config: OmniConfig,
        transport: Transport = "websocket",
        extensions: tuple[str, ...] = (),
    ) -> None:
        self.view = RealtimeView(config, transport, extensions)
        self.talk = Talk(config, lambda options: replace(self.view.options))
        self.said: list[dict[str, Any]] = []
        self._num_seen = 0
        self._hear([*self.view.opened("sess_1")])
        self.update()

    def send(self, *events: dict[str, Any] | str) -> list[dict[str, Any]]:
        """Send events (or raw text); returns what was said since."""
        before = len(self.said)
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event)
            answers: list[Any] = []
            self.talk.do(lambda s, text=text, answers=answers: answers.extend(
                self.view.receive(text, s)
            ))  # fmt: skip
            self.update()
            self._hear(answers)
        return self.said[before:]

    def ask(self, seconds: float = 1.0, wait_s: float = 6.0) -> list[dict[str, Any]]:
        """Speak, then wait; returns what was said since."""
        before = len(self.said)
        self.talk.speak(seconds)
        self.talk.quiet(wait_s)
        self.update()
        return self.said[before:]

    def update(self) -> None:
        """Read what the session has told since."""
        for event in self.talk.events[self._num_seen :]:
            self._hear(self.view.render(event))
        self._num_seen = len(self.talk.events)

    def last(self, kind: str) -> dict[str, Any]:
        return next(event for event in reversed(self.said) if event["type"] == kind)

    def _hear(self, events: list[Any]) -> None:
        for event in events:
            wire = json.loads(event.model_dump_json())
            if not wire["type"].startswith("omni."):
                # PCM at 16 kHz is our extension; all else must pass as it is.
                standard = event.model_dump_json().replace('"rate":16000', '"rate":24000')
                assert complaint(json.loads(standard)) is None
            self.said.append(wire)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Names of events in order, runs of the same folded into one."""
    names = [event["type"] for event in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def pcm(seconds: float, rate_hz: int = 24000, level: float = 0.1) -> str:
    """Base64 of a tone's worth of PCM that the stub takes for speech."""
    samples = np.full(int(seconds * rate_hz), level * 32767, "<i2")
    return base64.b64encode(samples.tobytes()).decode()
