"""What goes into a unit: a second of sound as the ear wants it, and the groups the mind reads.

Full and half duplex cut the spectrum differently.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omni.models.minicpmo.mel import MelChunk
from omni.models.minicpmo.prompt import Group, text_group
from omni.models.minicpmo.tokens import SpecialIds
from omni.models.minicpmo.turns import TurnHearing
from omni.models.minicpmo.unit import (
    FIRST_PADDED,
    FIRST_TAKEN,
    FRAMES_A_UNIT,
    UNIT_SAMPLES,
    Hearing,
)
from omni.models.minicpmo.wishes import Hear, Work


def hear(hearing: Hearing, samples: Tensor) -> Work[Tensor]:
    """Hear the next second [16000] after what was heard before; its embeddings [n, D].

    Raises:
        ValueError: it is shorter than a second.
    """
    waiting = torch.cat([hearing.lag, samples])
    taken = FIRST_TAKEN if hearing.mel.is_first else UNIT_SAMPLES
    if len(waiting) < taken:
        raise ValueError(f"a unit has {UNIT_SAMPLES} samples, not {len(samples)}")
    hearing.lag = waiting[taken:]
    chunk = hearing.mel.push(waiting[:taken], FRAMES_A_UNIT)
    embeds: Tensor = yield Hear(hearing.past, chunk)
    return embeds


def hear_turn(hearing: TurnHearing, samples: Tensor) -> Work[Tensor]:
    """Hear the next second [16000] of a turn in half duplex; its embeddings [n, D].

    Frames are not cut back to the second: the released code does not.

    Raises:
        ValueError: it is shorter than a second, or longer.
    """
    if len(samples) != UNIT_SAMPLES:
        raise ValueError(f"a unit has {UNIT_SAMPLES} samples, not {len(samples)}")
    if hearing.mel.is_first:
        samples = torch.cat([torch.zeros(FIRST_PADDED - UNIT_SAMPLES), samples])
    frames = hearing.mel.push(samples, FRAMES_A_UNIT).frames
    embeds: Tensor = yield Hear(hearing.past, MelChunk(frames, left=0, right=0))
    return embeds


def unit_groups(
    ids: SpecialIds, pictures: Sequence[Sequence[Tensor]], sound: Tensor | None
) -> tuple[Group, ...]:
    """A unit's input, in the order it was trained in.

    Args:
        pictures: the tiles of each, its overview first. [queries, D]
        sound: [n, D]
    """
    groups = [text_group(ids.unit)]
    for overview, *slices in pictures:
        groups += _framed(ids.image, overview, ids.image_end)
        for tile in slices:
            groups += _framed(ids.slice, tile, ids.slice_end)
    if sound is not None:
        groups.append(Group("audio", embeds=sound))
    return tuple(groups)


def _framed(opening: int, embeds: Tensor, closing: int) -> list[Group]:
    return [text_group(opening), Group("image", embeds=embeds), text_group(closing)]
