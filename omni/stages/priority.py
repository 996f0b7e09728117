"""Who goes first where stages share cores: what is waited for now, before what is done ahead.

Hides the system's scheduler. Threads take turns by weight, so whoever gives way still gets on.
"""

import os
import sys
from typing import Final

from omni.types import StageName

LOWEST: Final = 19  # niceness
STEPS_BACK: Final[dict[StageName, int]] = {"see": 10}  # speech always comes first


def give_way(stage: StageName) -> None:
    """Let the calling thread, and those it starts from now on, stand where this stage does.

    It is only ever put back, from where its process is: to come forward takes privileges.
    """
    if sys.platform == "linux":  # where a thread has a priority of its own
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + STEPS_BACK.get(stage, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(LOWEST, niceness))
