"""What Ray sets aside for the stages."""

import pytest

from actors import cluster
from omni.config import OmniConfig, load
from omni.types import STAGES


def shares(config: OmniConfig) -> dict[str, float]:
    return {name: cluster._resources(config, name)["num_gpus"] for name in STAGES}


def test_the_minicpmo_brain_shares_one_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"GPU": 1.0}
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: found)
    claimed = shares(load("minicpm-o"))
    assert claimed.pop("vad") == 0
    assert all(share > 0 for share in claimed.values())
    assert sum(claimed.values()) <= 1
    assert not any(shares(load("minicpm-o", ["brain.duplex.device=cpu"])).values())
    assert not any(shares(load("embedded")).values())
    found.clear()
    assert not any(shares(load("minicpm-o")).values())
