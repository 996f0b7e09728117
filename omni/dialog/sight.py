"""The session's eyes: pictures on their way, what was last seen, and what is said about it.

Hides when a picture is waited for, how long it counts as the present, and what the LLM is told.
Laws: no reply waits longer than `WAIT_MS` for a picture; a sight that the user wants to be told of
is told once.
"""

from dataclasses import replace
from typing import Final

from omni.config import SeeConfig
from omni.dialog import looking
from omni.dialog.asked import wanted_sight
from omni.dialog.describing import with_article
from omni.dialog.history import History
from omni.dialog.outbox import Outbox
from omni.dialog.scene import SURE, describe
from omni.events import Item, PictureSeen
from omni.types import PictureChunk, Seen

WAIT_MS: Final = 3000
CAMERA_MS: Final = 15_000  # a camera that showed nothing for so long is off
STILL_MS: Final = 120_000  # a picture in a message stays in mind longer
NOTICE_MS: Final = 10_000  # later, what was to be told is no news
_STANDSTILL_MS: Final = 1000  # of the sound's clock, after which nobody seems to send any
_MAX_WATCHES: Final = 8


class Sight:
    """Args:
    outbox: where events and chunks go.
    config: whether there are eyes at all.
    """

    def __init__(self, outbox: Outbox, config: SeeConfig) -> None:
        self._out = outbox
        self._is_enabled = config.enabled
        self._is_plain = config.wording == "plain"
        self.answer = ""  # to the user's latest words, if they concern sight
        self._seen: Seen | None = None
        self._counts_until_ms = 0.0
        self._awaited: dict[str, float] = {}  # picture → deadline
        self._looks_closely = True  # at the first picture, and the first of each turn
        self._watches: list[str] = []
        self._notice = ("", 0.0)
        self._prepared = ("", "", 0.0)  # text, aside, and when
        self._time = _SightTime()

    @property
    def is_awaited(self) -> bool:
        """What a picture shows is not known yet, and somebody waits for it."""
        now_ms = self._out.clock.now_ms()
        return any(deadline_ms > now_ms for deadline_ms in self._awaited.values())

    def show(self, encoded: bytes, captured_ms: int) -> str:
        """A camera's picture; the first, and that of each turn, is looked at closely. Its id."""
        is_asked, self._looks_closely = self._looks_closely, False
        return self._send(encoded, captured_ms, CAMERA_MS, is_asked=is_asked)

    def look_at(self, item: Item, captured_ms: int) -> None:
        """The pictures of a message: what they show will be waited for."""
        for part in item.parts:
            if part.image is not None and self._is_enabled:
                picture_id = self._send(part.image, captured_ms, STILL_MS, is_asked=True)
                self._awaited[picture_id] = self._out.clock.now_ms() + WAIT_MS

    def began(self) -> None:
        """The user speaks, perhaps about what they show."""
        self._looks_closely = True
        self._prepared = ("", "", 0.0)

    def seen(self, seen: Seen) -> None:
        """Take in what the eyes found."""
        self._awaited.pop(seen.picture_id, None)
        self._seen = seen
        self._out.emit(
            PictureSeen(seen.picture_id, seen.note, seen.captured_ms, seen.things, seen.text)
        )
        for label in self._watches:
            if self._is_in_view(label):
                self._watches.remove(label)
                self._notice = (self._told_of(label), self._out.clock.now_ms())
                break

    def give_up(self) -> None:
        """A picture could not be seen; nobody need wait for it."""
        self._awaited.clear()

    def heed(self, item: Item | None, history: History) -> None:
        """Find what is to be answered to the user's message, or put what can be said to it beside
        it; and do what it asks of the eyes."""
        self.answer = ""
        if item is None or item.role != "user" or history.has_aside(item.item_id):
            return
        has_picture = any(part.image is not None for part in item.parts)
        history.set_aside(item.item_id, self.aside(item.text, has_picture=has_picture))
        label = wanted_sight(item.text)
        if label and not self._is_in_view(label) and label not in self._watches:
            self._watches = [*self._watches, label][-_MAX_WATCHES:]

    def aside(self, text: str, *, has_picture: bool = False) -> str:
        """What the LLM is told beside the user's words; empty if they do not concern sight, or
        if there is an `answer`, which then is the reply.

        The same words get the same for a while, so that a reply that was prepared stays good.
        """
        now_ms = self._out.clock.now_ms()
        before, said, at_ms = self._prepared
        if before != text or now_ms - at_ms > WAIT_MS:
            said = self._said_to(text.strip(), has_picture=has_picture)
            self._prepared = (text, said, now_ms)
        self.answer = said if self._is_plain else ""
        return "" if self.answer else self._told(said, has_picture=has_picture)

    def brief(self, item: Item, history: History) -> None:
        """Put what can be said to a message beside it, whatever the wording: for replies that are
        the core's alone."""
        self.answer = ""
        if item.role == "user" and not history.has_aside(item.item_id):
            has_picture = any(part.image is not None for part in item.parts)
            said = self._said_to(item.text.strip(), has_picture=has_picture)
            history.set_aside(item.item_id, self._told(said, has_picture=has_picture))

    def take_notice(self) -> str:
        """What the user wanted to be told of and has now come into view; once."""
        (said, _), self._notice = self._notice, ("", 0.0)
        return said

    @property
    def has_notice(self) -> bool:
        said, since_ms = self._notice
        return bool(said) and self._out.clock.now_ms() - since_ms <= NOTICE_MS

    # ---- inside

    def _send(self, encoded: bytes, captured_ms: int, counts_ms: int, *, is_asked: bool) -> str:
        picture_id = self._out.new_id("pic")
        self._counts_until_ms = max(self._counts_until_ms, self._out.clock.now_ms() + counts_ms)
        if self._is_enabled:
            at_ms = self._time.of(captured_ms, self._out.clock.now_ms())
            self._out.send(PictureChunk(*self._out.stamp, picture_id, encoded, at_ms, is_asked))
        return picture_id

    @property
    def _present(self) -> Seen | None:
        """What is in view, if anything still is."""
        return self._seen if self._out.clock.now_ms() < self._counts_until_ms else None

    def _told(self, said: str, *, has_picture: bool) -> str:
        """What the LLM is told: the answer, else what a picture shows."""
        seen = self._present if has_picture else None
        picture = f"[The picture: {looking.summary(seen)}]" if seen else ""
        return f"[Answer with this: {said}]" if said else picture

    def _said_to(self, text: str, *, has_picture: bool) -> str:
        """The answer to a question about sight; empty to other words."""
        seen = self._present
        if label := wanted_sight(text):
            told = self._told_of(label) if self._is_in_view(label) else ""
            return told or f"I will tell you when I see {with_article(label)}."
        if has_picture and self._is_enabled:
            return self._said_to_picture(text, seen)
        said = looking.answer(text, seen)
        is_on = self._out.clock.now_ms() < self._counts_until_ms
        return "I have not made anything out yet." if said and seen is None and is_on else said

    @staticmethod
    def _said_to_picture(text: str, seen: Seen | None) -> str:
        if seen is None:
            return "I could not see that picture."
        return looking.answer_to_picture(text, replace(seen, gone=()))  # it is about it alone

    def _is_in_view(self, label: str) -> bool:
        things = self._present.things if self._present else ()
        return any(thing.probability >= SURE for thing in looking.find(things, label))

    def _told_of(self, label: str) -> str:
        things = self._present.things if self._present else ()
        return f"I see {describe(tuple(looking.find(things, label)[:1]))}."


class _SightTime:
    """The time of pictures: the sound's, which without sound goes on with the wall's."""

    def __init__(self) -> None:
        self._captured_ms = -1
        self._moved_ms = 0.0
        self._lag_ms = self._stood_ms = 0

    def of(self, captured_ms: int, now_ms: float) -> int:
        if captured_ms > self._captured_ms:
            self._captured_ms, self._moved_ms = captured_ms, now_ms
            self._lag_ms, self._stood_ms = self._lag_ms + self._stood_ms, 0
        elif now_ms - self._moved_ms > _STANDSTILL_MS:
            self._stood_ms = round(now_ms - self._moved_ms)
        return captured_ms + self._lag_ms + self._stood_ms
