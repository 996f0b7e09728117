"""A message in pieces: words, and sounds and pictures as ears and eyes have embedded them.

Hides how each is framed in a turn-based context, and that words side by side are one text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from omni.models.minicpmo.prompt import Group, text_group
from omni.models.minicpmo.tokens import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class SoundRows:
    """What the ears made of a sound. [n, D]"""

    rows: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PictureRows:
    """What the eyes made of a picture: its overview, then its slices, so many in a row."""

    tiles: Sequence[Tensor]  # of [queries, D]
    columns: int


Part = str | SoundRows | PictureRows


def groups_of(tokens: Tokens, parts: Iterable[Part]) -> tuple[Group, ...]:
    """What is fed for a message, or for a piece of one."""
    groups: list[Group] = []
    text = ""
    for piece in (piece for part in parts for piece in _framed(part)):
        if isinstance(piece, str):
            text += piece
            continue
        groups += [text_group(*tokens.encode(text)), piece]
        text = ""
    groups.append(text_group(*tokens.encode(text)))
    return tuple(group for group in groups if len(group))


def _framed(part: Part) -> list[str | Group]:
    match part:
        case str():
            return [part]
        case SoundRows(rows):
            return ["<|audio_start|>", Group("audio", embeds=rows), "<|audio_end|>"]
        case PictureRows(tiles, columns):
            overview, *slices = tiles
            pieces: list[str | Group] = ["<image>", Group("image", embeds=overview), "</image>"]
            for at, tile in enumerate(slices):
                between = "\n" if at and columns and at % columns == 0 else ""
                pieces += [between + "<slice>", Group("image", embeds=tile), "</slice>"]
            return pieces
