"""What goes into the LLM's context: groups of one modality, and the texts that hold their places.

Hides how pictures and sounds are announced in a turn-based prompt; duplex units need none of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from omni.media.slicing import Plan
from omni.models.minicpmo.mel import HOP, PIECE_SAMPLES
from omni.models.minicpmo.tokens import Tokens

_POSITIONS_A_S = 50
_IMAGE_MARK = "<image>./</image>"
_AUDIO_MARK = "<audio>./</audio>"
_MARKS = re.compile(f"({re.escape(_IMAGE_MARK)}|{re.escape(_AUDIO_MARK)})")


Modality = Literal["text", "image", "audio"]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One modality's rows: token ids, or embeddings [n, D]."""

    modality: Modality
    ids: tuple[int, ...] = ()
    embeds: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids) if self.embeds is None else len(self.embeds)


def text_group(*ids: int) -> Group:
    return Group("text", ids)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture of a message, by the plan it is cut by."""

    plan: Plan


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A sound of a message, by its length at 16 kHz."""

    num_samples: int


Content = str | Picture | Sound


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    role: str
    contents: tuple[Content, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A prompt as ids.

    `template` is the text before the places are made; `images` and `audios` are the [start, end)
    of each place in `ids`.
    """

    template: str
    ids: tuple[int, ...]
    images: tuple[tuple[int, int], ...]
    audios: tuple[tuple[int, int], ...]

    def filled(self, images: Sequence[Tensor], audio: Tensor | None) -> tuple[Group, ...]:
        """The groups to feed.

        Args:
            images: one for each image place, in order. [queries, D]
            audio: rows for all audio places, one after the other. [rows, D]

        Raises:
            ValueError: pictures or sounds are missing.
        """
        places = [(*place, image) for place, image in zip(self.images, images, strict=True)]
        used = 0
        for start, end in self.audios:
            if audio is None or len(audio) < used + end - start:
                raise ValueError("there is less sound than the prompt has places for")
            places.append((start, end, audio[used : used + end - start]))
            used += end - start
        groups: list[Group] = []
        at = 0
        for start, end, embeds in sorted(places, key=lambda place: place[0]):
            modality: Modality = "image" if (start, end) in self.images else "audio"
            groups += [text_group(*self.ids[at:start]), Group(modality, embeds=embeds)]
            at = end
        groups.append(text_group(*self.ids[at:]))
        return tuple(group for group in groups if len(group))


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """How many rows pictures and sounds take."""

    num_queries: int
    audio_pool: int

    def image(self, plan: Plan, index: int | None) -> str:
        """Overview, then slices, their rows on lines of their own; `index` numbers the picture."""
        unknown = "<unk>" * self.num_queries
        text = f"<image>{unknown}</image>"
        if index is not None:
            text = f"<image_id>{index}</image_id>{text}"
        if plan.grid is None:
            return text
        columns, rows = plan.grid
        return text + "\n".join([f"<slice>{unknown}</slice>" * columns] * rows)

    def audio(self, num_samples: int) -> str:
        """One place for the whole sound."""
        return self._audio(self.num_audio_rows(num_samples))

    def audio_by_second(self, num_samples: int) -> str:
        """One place a second, the last perhaps shorter."""
        rows, a_second = self.num_audio_rows(num_samples), _POSITIONS_A_S // self.audio_pool
        sizes = [min(a_second, rows - start) for start in range(0, rows, a_second)]
        return "".join(map(self._audio, sizes))

    def num_audio_rows(self, num_samples: int) -> int:
        """Embeddings the ear makes of a finished sound."""
        pieces = [PIECE_SAMPLES] * (num_samples // PIECE_SAMPLES) + [num_samples % PIECE_SAMPLES]
        frames = [-(-piece // HOP) for piece in pieces if piece]
        return sum(((n - 1) // 2 + 1 - self.audio_pool) // self.audio_pool + 1 for n in frames)

    def _audio(self, num_rows: int) -> str:
        return "<|audio_start|>" + "<unk>" * num_rows + "<|audio_end|>"

    def fill(self, template: str, contents: Sequence[Content], *, has_image_ids: bool) -> str:
        """Put a place where the template has a mark, for each picture and sound in order.

        Raises:
            ValueError: the marks are not those of the contents (a text may not hold any).
        """
        media = [content for content in contents if not isinstance(content, str)]
        parts = _MARKS.split(template)
        if [mark(content) for content in media] != parts[1::2]:
            raise ValueError("the text of a message holds a mark for a picture or a sound")
        images = 0
        for at, content in enumerate(media):
            if isinstance(content, Picture):
                index = images if has_image_ids else None
                parts[2 * at + 1] = self.image(content.plan, index)
                images += 1
            else:
                parts[2 * at + 1] = self.audio(content.num_samples)
        return "".join(parts)


def write(
    tokens: Tokens,
    places: Places,
    template: str,
    contents: Sequence[Content],
    *,
    has_image_ids: bool,
) -> Written:
    """Turn a text with marks into ids, with places for its pictures and sounds."""
    filled = places.fill(template, contents, has_image_ids=has_image_ids)
    ids, special = tokens.encode(filled), tokens.ids
    return Written(
        template,
        tuple(ids),
        _between(ids, (special.image, special.slice), (special.image_end, special.slice_end)),
        _between(ids, (special.audio_start,), (special.audio_end,)),
    )


def write_chat(
    tokens: Tokens, places: Places, messages: Sequence[Message], joint: str, *, has_image_ids: bool
) -> Written:
    """Write a turn-based chat; `joint` joins the contents of a message."""
    contents = [content for message in messages for content in message.contents]
    written = [{"role": m.role, "content": joint.join(map(mark, m.contents))} for m in messages]
    template = tokens.chat(written, is_spoken=any(isinstance(c, Sound) for c in contents))
    return write(tokens, places, template, contents, has_image_ids=has_image_ids)


def mark(content: Content) -> str:
    """What stands for a content in a template."""
    match content:
        case Picture():
            return _IMAGE_MARK
        case Sound():
            return _AUDIO_MARK
        case str():
            return content


def _between(
    ids: Sequence[int], starts: Sequence[int], ends: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    opened = [at + 1 for at, token in enumerate(ids) if token in starts]
    closed = [at for at, token in enumerate(ids) if token in ends]
    return tuple(zip(opened, closed, strict=True))
