"""The figures of made-up conversations whose outcome is known."""

import json
from typing import Any

import numpy as np
import pytest

from omni.evaluation.outcomes import Outcomes, outcomes_from
from omni.evaluation.panel import Panel, spans_of
from omni.evaluation.recording import FRAME_SAMPLES, RATE_HZ, Recording
from omni.evaluation.script import Mark
from omni.evaluation.sounds import Repertoire


def recording(*spoken: tuple[float, float], length_s: float = 200.0) -> Recording:
    """A recording in which the agent speaks from and to these times."""
    recorded = Recording()
    for index in range(int(length_s * 50)):
        recorded.next_frame()
        at_s = index / 50
        if any(start <= at_s < end for start, end in spoken):
            recorded.play(np.full(FRAME_SAMPLES, 0.1, np.float32))
    return recorded


def reply(recorded: Recording, name: str, begun_s: float, ended_s: float, status: str) -> None:
    response: dict[str, Any] = {"id": name, "status": status, "output": []}
    recorded.events.append((begun_s, {"type": "response.created", "response": response}))
    recorded.events.append((ended_s, {"type": "response.done", "response": response}))


def figures(recorded: Recording, marks: list[Mark]) -> dict[str, Any]:
    return Panel(recorded, marks, None).outcomes().figures()


def test_latencies_are_from_the_users_end_to_the_agents_beginning() -> None:
    recorded = recording(*[(10 * i + 2.5, 10 * i + 5) for i in range(12)])
    marks = [Mark("question", 10 * i, 10 * i + 2, False) for i in range(12)]
    found = figures(recorded, marks)
    assert found["L_R_p50_ms"] == pytest.approx(500, abs=40)
    assert found["R_R"] == 1
    assert found["R_Y"] is None  # nobody interrupted


def test_a_yield_is_silence_within_two_seconds() -> None:
    spoken = [(10 * i + 1, 10 * i + (3.3 if i % 2 else 8)) for i in range(20)]
    marks = [Mark("interrupt", 10 * i + 3, 10 * i + 4, True) for i in range(20)]
    found = figures(recording(*spoken), marks)
    assert found["R_Y"] == 0.5
    assert found["L_Y_p50_ms"] == pytest.approx(300, abs=40)
    assert found["spill_s"] == pytest.approx(2.0, abs=0.05)  # half of them spill four seconds


def test_a_quick_answer_to_an_interruption_is_not_more_of_what_it_ended() -> None:
    recorded = recording(*[(10 * i, 10 * i + 3.3) for i in range(12)],
                         *[(10 * i + 3.7, 10 * i + 8) for i in range(12)])  # fmt: skip
    marks = [Mark("interrupt", 10 * i + 3, 10 * i + 3.4, True) for i in range(12)]
    assert figures(recorded, marks)["R_Y"] == 0  # the same reply, after a pause
    for i in range(12):
        reply(recorded, f"old {i}", 10 * i, 10 * i + 3.4, "cancelled")
        reply(recorded, f"new {i}", 10 * i + 3.6, 10 * i + 8, "completed")
    found = figures(recorded, marks)
    assert (found["R_Y"], found["spill_s"]) == (1, 0)
    assert found["L_Y_p50_ms"] == pytest.approx(300, abs=40)


def test_a_reply_that_is_taken_up_again_spills() -> None:
    recorded = recording(*[(10 * i, 10 * i + 3.2) for i in range(12)],
                         *[(10 * i + 4, 10 * i + 5) for i in range(12)])  # fmt: skip
    marks = [Mark("interrupt", 10 * i + 3, 10 * i + 3.5, True) for i in range(12)]
    for i in range(12):
        reply(recorded, f"{i}", 10 * i, 10 * i + 5, "cancelled")
    found = figures(recorded, marks)
    assert found["L_Y_p50_ms"] == pytest.approx(200, abs=40)
    assert found["spill_s"] == pytest.approx(1.5, abs=0.05)


def test_a_short_pause_is_no_yield_and_a_reply_begun_anew_is_one() -> None:
    spoken = [
        part for i in range(12) for part in ((10 * i, 10 * i + 3.2), (10 * i + 3.6, 10 * i + 8))
    ]
    marks = [Mark("backchannel", 10 * i + 3, 10 * i + 3.4, True) for i in range(12)]
    recorded = recording(*spoken)
    assert figures(recorded, marks)["S_BC"] == 1
    for i in range(12):
        reply(recorded, str(i), 10 * i, 10 * i + 3.3, "cancelled")
    assert figures(recorded, marks)["S_BC"] == 0


def test_an_end_that_came_by_itself_tells_nothing() -> None:
    spoken = [(10 * i, 10 * i + 3.4) for i in range(12)]
    marks = [Mark("backchannel", 10 * i + 3, 10 * i + 3.4, True) for i in range(12)]
    recorded = recording(*spoken)
    for i in range(12):
        reply(recorded, str(i), 10 * i, 10 * i + 3.3, "completed")
    assert figures(recorded, marks)["counts"]["backchannels"] == 0


def test_a_tic_in_silence_is_not_to_be_answered() -> None:
    marks = [Mark("tic", 10 * i, 10 * i + 0.5, False) for i in range(10)]
    spoken = [(10 * i + 1.5, 10 * i + 3) for i in range(3)]
    assert figures(recording(*spoken), marks)["S_VT"] == 0.7


def test_speaking_in_the_users_pause_is_taking_over() -> None:
    marks = [Mark("pause", 10 * i, 10 * i + 4, False, (10 * i + 1, 10 * i + 2)) for i in range(10)]
    spoken = [(10 * i + (1.8 if i < 2 else 4.5), 10 * i + 6) for i in range(10)]
    found = figures(recording(*spoken), marks)
    assert found["pause_take_over"] == found["pause_sound"] == 0.2


def test_who_begins_in_a_pause_and_gives_way_at_once_has_not_taken_over() -> None:
    marks = [Mark("pause", 10 * i, 10 * i + 4, False, (10 * i + 1, 10 * i + 2)) for i in range(10)]
    spoken = [(10 * i + 1.8, 10 * i + (2.4 if i < 7 else 2.9)) for i in range(10)]
    found = figures(recording(*spoken), marks)
    assert found["pause_take_over"] == 0.3
    assert found["pause_sound"] == 1


def test_a_player_that_runs_dry_is_noticed_unless_the_user_made_us_pause() -> None:
    spoken = [
        part for i in range(10) for part in ((10 * i, 10 * i + 2), (10 * i + 2.3, 10 * i + 4))
    ]
    recorded = recording(*spoken)
    for i in range(10):
        reply(recorded, str(i), 10 * i, 10 * i + 4, "completed")
    assert figures(recorded, [])["continuity_ok"] == 0
    marks = [Mark("backchannel", 10 * i + 1.8, 10 * i + 2.2, True) for i in range(10)]
    assert figures(recorded, marks)["continuity_ok"] == 1


def test_spans_join_over_pauses_up_to_half_a_second() -> None:
    samples = np.zeros(4 * RATE_HZ, np.float32)
    samples[:RATE_HZ] = samples[int(1.4 * RATE_HZ) : 2 * RATE_HZ] = 0.1
    samples[int(2.6 * RATE_HZ) : 3 * RATE_HZ] = 0.1
    assert [(round(a, 1), round(b, 1)) for a, b in spans_of(samples).spans] == [(0, 2), (2.6, 3)]


def test_a_player_of_a_stream_that_came_late_catches_up_in_its_silences() -> None:
    recorded = Recording()
    for index in range(200):
        recorded.next_frame()
        if index == 50:  # a stall ends: half a second of silence arrives at once
            for _ in range(25):
                recorded.stream(np.zeros(FRAME_SAMPLES, np.float32))
        recorded.stream(np.full(FRAME_SAMPLES, 0.1 if index >= 100 else 0.0, np.float32))
    assert spans_of(recorded.agent).first_after(0) == pytest.approx(100 / 50, abs=0.1)


def test_outcomes_of_several_calls_add_up_to_the_figures_of_one() -> None:
    one = Outcomes((0.2,) * 6, (0.0,) * 6, (1.0, None), tics=(True,) * 6, unheard_words=0)
    two = Outcomes((3.0,) * 6, (1.0,) * 6, (1.2,), tics=(False,) * 6, unheard_words=2)
    both = outcomes_from(json.loads(json.dumps(one.plus(two).as_dict())))
    found = both.figures()
    assert (found["R_Y"], found["spill_s"], found["S_VT"]) == (0.5, 0.5, 0.5)
    assert found["counts"]["responses"] == 3
    assert found["unheard_words"] == 2
    assert one.plus(Outcomes()).figures() == one.figures()
    with pytest.raises(TypeError):
        outcomes_from({"yield": []})


def test_the_pause_in_a_recording_of_the_users_own_is_found() -> None:
    speech = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    own = np.concatenate([speech, np.zeros(int(0.7 * RATE_HZ), np.float32), speech])
    sound = Repertoire(lambda *_: (speech, []), 0, {"pause": [own]}).next("pause")
    assert sound.pause_s == (pytest.approx(1.0, abs=0.01), pytest.approx(1.7, abs=0.01))
