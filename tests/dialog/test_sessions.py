"""Every brain gets its kind of session; those that keep a beat share the second."""

from dataclasses import replace

import numpy as np

from omni.clock import ManualClock
from omni.config import load
from omni.dialog.duplex import DuplexSession
from omni.dialog.options import default_options
from omni.dialog.session import Session
from omni.dialog.sessions import Sessions
from omni.events import ResponseAudio
from omni.types import Samples, frozen_array
from omni.units import UnitSound
from tests.dialog.talk import Talk


def frame() -> Samples:
    return frozen_array(np.zeros(320, np.float32))


def test_the_brain_decides() -> None:
    for profile, kind in (("stub", Session), ("minicpm-o", DuplexSession)):
        config = load(profile)
        made = Sessions(config, ManualClock()).new("s", default_options(config))
        assert isinstance(made, kind)


def test_where_sound_leaves_in_real_time_next_to_none_waits() -> None:
    config = load("stub")
    talk = Talk(config)
    options = replace(default_options(config), is_paced=True)
    made = Sessions(config, talk.clock).new("s", options)
    assert isinstance(made, Session)
    talk.session = made
    talk.speak(1.0)
    while not talk.of(ResponseAudio):
        talk.quiet(0.02)
    talk.quiet(0.4)
    assert len(talk.of(ResponseAudio)) <= 22  # in 420 ms: one is ahead


def test_units_of_sessions_opened_together_are_spread() -> None:
    config, clock = load("minicpm-o"), ManualClock()
    sessions = Sessions(config, clock)
    made = [sessions.new(f"s{n}", default_options(config)) for n in range(4)]
    ends: dict[str, list[float]] = {session.session_id: [] for session in made}
    for _ in range(150):
        clock.advance(20)
        for session in made:
            session.feed(frame())
            if any(isinstance(chunk, UnitSound) for chunk in session.chunks()):
                ends[session.session_id].append(clock.now_ms() % 1000)
    places = sorted(round(times[0] / 250) % 4 for times in ends.values())
    assert places == [0, 1, 2, 3]
