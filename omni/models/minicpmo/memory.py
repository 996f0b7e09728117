"""Room on a device for one more session, beside what those there are will still grow by."""

from typing import Final

import torch

from omni.errors import SessionCapacity
from omni.models.minicpmo.checkpoint import free_bytes

GIB: Final = 1 << 30


def check_room(device: torch.device, session_bytes: int, held_bytes: list[int]) -> None:
    """Args:
        session_bytes: that a session grows to; a pass copies as much for a moment.
        held_bytes: that each open session holds by now.

    Raises:
        SessionCapacity: the memory that is left is promised.
    """
    promised = sum(max(0, session_bytes - held) for held in held_bytes)
    left, needed = free_bytes(device) - promised, 2 * session_bytes
    if left < needed:
        raise SessionCapacity(
            f"{device} has {max(0, left) / GIB:.1f} GiB left for sessions, and another needs "
            f"{needed / GIB:.1f}; try again soon"
        )
