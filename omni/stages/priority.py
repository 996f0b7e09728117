"""Who goes first where stages share cores: what is waited for now, before what is done ahead.

Hides the system's scheduler. Threads take turns by weight, so whoever gives way still gets on.
"""

import os
import sys
from typing import Final

from omni.types import StageName

LOWEST: Final = 19  # niceness
# Words are written faster than they are said, and a clause is waited for; eyes come last.
STEPS_BACK: Final[dict[StageName, int]] = {"think": 10, "see": 14}


def give_way(stage: StageName) -> None:
    """Let the calling thread, and those it starts from now on, stand where this stage does.

    It is only ever put back, from where its process is: to come forward takes privileges.
    """
    if sys.platform == "linux":  # where a thread has a priority of its own
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + STEPS_BACK.get(stage, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(LOWEST, niceness))
