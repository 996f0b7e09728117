"""The measurement of bad networks, against which its targets are held on virtual time."""

import asyncio
import itertools
import json

import numpy as np
import pytest

from omni.cli import main
from omni.commands.eval_network import EMPTY, LADDER, said_through, spoken
from omni.config import load
from omni.evaluation.network_call import (
    AiortcEar,
    Hearing,
    OmniEar,
    Speech,
    call,
    simulate,
)
from omni.evaluation.network_link import Link, Weather
from omni.evaluation.network_panel import distance, figures, word_errors
from omni.pipeline import LocalPipeline
from omni.serve.gateway import Gateway
from omni.stages.build import build_stage, stage_names
from omni.types import Samples

PERIOD_MS = 20


def voice(text: str, _name: str) -> tuple[Samples, list[int]]:
    """A murmur of its own for every text: noise below 2 kHz."""
    size = 1200 * len(text)
    spectrum = np.fft.rfft(np.random.default_rng(len(text)).normal(0, 1, size))
    spectrum[size * 2000 // 24000 :] = 0
    sound = np.fft.irfft(spectrum, size)
    return np.asarray(sound / np.abs(sound).max(), np.float32), []


@pytest.fixture(scope="module")
def speech() -> Speech:
    return spoken(voice, ["a long enough line", "and another of that kind", "the last of them all"])


def test_the_link_loses_what_it_should() -> None:
    link = Link(Weather(loss=0.05), seed=1)
    for n in range(4000):
        link.send(b"", n * PERIOD_MS)
    assert 0.04 < link.num_lost / 4000 < 0.06


def test_the_link_loses_whole_bursts() -> None:
    link = Link(Weather(burst_ms=200), seed=1)
    for n in range(1000):  # 20 s: five of them
        link.send(n.to_bytes(2, "big"), n * PERIOD_MS)
    assert link.num_lost == 5 * 10
    arrived = [int.from_bytes(packet, "big") for packet in link.arrived(1e9)]
    assert sorted({b - a for a, b in itertools.pairwise(arrived)}) == [1, 11]


def test_the_link_delays_and_reorders() -> None:
    link = Link(Weather(jitter_ms=30, delay_ms=100), seed=1)
    for n in range(500):
        link.send(n.to_bytes(2, "big"), n * PERIOD_MS)
    assert link.arrived(10) == []
    arrived = [int.from_bytes(packet, "big") for packet in link.arrived(1e9)]
    assert arrived != sorted(arrived) == list(range(500))


@pytest.mark.parametrize("name", LADDER)
def test_targets_hold_on_virtual_time(name: str, speech: Speech) -> None:
    found = figures(speech, simulate(speech, LADDER[name], seed=0))
    assert found["timeline_error_ms"] <= 20
    assert found["heard_share"] > 0.9
    assert found["back_to_normal_ms"] <= 2000
    assert found["longest_gap_ms"] <= 300


@pytest.mark.parametrize(("name", "least_heard"), list(zip(EMPTY, (0.99, 0.99, 0.6), strict=True)))
def test_empty_packets_cost_no_more_than_themselves(
    name: str, least_heard: float, speech: Speech
) -> None:
    found = figures(speech, simulate(*said_through(name, speech), seed=0))
    assert found["timeline_error_ms"] <= 20
    assert found["heard_share"] >= least_heard
    assert found["longest_gap_ms"] <= 400


def test_same_seed_same_call(speech: Speech) -> None:
    heard = [simulate(speech, LADDER["loss 5 %, jitter 10 ms"], seed=3).samples for _ in range(2)]
    np.testing.assert_array_equal(*heard)


def test_the_figures_see_what_is_wrong(speech: Speech) -> None:
    whole = simulate(speech, Weather(), seed=0)
    cut = Hearing([p for n, p in enumerate(whole.pieces) if not 100 <= n < 110])
    assert figures(speech, cut)["timeline_error_ms"] == pytest.approx(200, abs=5)
    late = Hearing([(at_s + 0.5 * (100 <= n < 150), p) for n, (at_s, p) in enumerate(whole.pieces)])
    assert figures(speech, late)["back_to_normal_ms"] == pytest.approx(980, abs=30)
    assert figures(speech, late)["longest_gap_ms"] == pytest.approx(520, abs=20)


def test_words_are_counted_where_they_were_said(speech: Speech) -> None:
    hearing = simulate(speech, Weather(), seed=0)
    texts = iter([speech.texts[0][0], "and of that kind", ""])
    assert word_errors(speech, hearing, lambda _: next(texts)) == (1 + 5, 4 + 5 + 5)
    assert distance(["a", "b", "c"], ["b", "x", "c", "d"]) == 3


async def test_a_real_call_through_the_relay(speech: Speech) -> None:
    settings = load("stub")
    stages = [build_stage(settings, name) for name in stage_names(settings)]
    gateway = Gateway(settings, LocalPipeline(stages))
    gateway.start()
    await gateway.ready()
    hearing = await call(OmniEar(gateway), speech, Weather(loss=0.05, jitter_ms=10), seed=1)
    await gateway.stop()
    found = figures(speech, hearing)
    assert 0 < found["lost_%"] < 15
    assert found["timeline_error_ms"] <= 20
    assert found["heard_share"] > 0.9


async def test_an_empty_packet_deafens_aiortc_but_not_us(speech: Speech) -> None:
    settings = load("stub")
    stages = [build_stage(settings, name) for name in stage_names(settings)]
    gateway = Gateway(settings, LocalPipeline(stages))
    gateway.start()
    await gateway.ready()
    poisoned, weather = said_through("1 packet empty every 4 s", speech)
    ours, theirs = await asyncio.gather(
        call(OmniEar(gateway), poisoned, weather, seed=1),
        call(AiortcEar(), poisoned, weather, seed=1),
    )
    await gateway.stop()
    assert figures(speech, ours)["heard_share"] > 0.9
    assert len(theirs.samples) < len(ours.samples)


async def test_aiortc_as_it_comes_can_be_called_too(speech: Speech) -> None:
    short = Speech(speech.samples[: 16000 * 2], speech.packets[:100], speech.texts[:1])
    hearing = await call(AiortcEar(), short, Weather(), seed=1)
    assert len(hearing.samples) > 16000


def test_it_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", "stub", "--virtual", "--sentences", "1", "--json"]
    assert main(["eval", "network", *arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["weather"] for row in report["rows"]] == [*LADDER, *EMPTY]
    assert report["rows"][0]["timeline_error_ms"] == 0
