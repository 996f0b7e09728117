"""Who gives way does so from where it is, and never comes forward."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from omni.stages.priority import LOWEST, STEPS_BACK, give_way
from omni.types import StageName


def niceness_after(*stages: StageName) -> list[int]:
    """Of a thread, before and after it took each stage's place."""

    def own() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    def change() -> list[int]:
        found = [own()]
        for stage in stages:
            give_way(stage)
            found.append(own())
        return found

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(change).result()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_the_eyes_stand_behind_all_others() -> None:
    for stage in ("vad", "hear", "speak", "think", "see"):
        before, after = niceness_after(stage)
        assert after == min(LOWEST, before + STEPS_BACK.get(stage, 0))
    assert niceness_after("see", "see", "speak")[-1] == LOWEST
