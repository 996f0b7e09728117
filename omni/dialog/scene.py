"""What a camera shows over time: findings of single pictures, fused into things that stay.

Hides tracking, how sure is sure enough, and what counts as a change. Laws: the same findings again
change nothing; a thing keeps its id while it is in view; what was found once and faintly is called
a "perhaps"; nothing is said that was not found.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from omni.dialog.describing import listing, name_of, place_of, plural_of, with_article
from omni.types import Thing

SURE: Final = 0.45
_NUM_SIGHTINGS: Final = 3  # of something faint in pictures that differ, before it is believed
_SHIFTED: Final = 0.02  # of the picture: less may be a hand that trembles
_NEAR: Final = 0.3  # of the picture: how far a thing may go between two looks
_MOVED: Final = 0.15
_MISSED_MS: Final = 1500
_RECENT_MS: Final = 30_000
_JUST_NOW_MS: Final = 5000
_MAX_THINGS: Final = 12
_MAX_TEXT_CHARS: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """Something in one picture. The fields are those of `Thing`."""

    label: str
    colour: str
    box: tuple[float, float, float, float]
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """All that was found in one picture. `lines` is None if nobody tried to read."""

    captured_ms: int
    findings: tuple[Finding, ...]
    lines: tuple[str, ...] | None = None


@dataclass(slots=True, eq=False)
class _Track:
    thing: Thing
    home: tuple[float, float]  # the centre from which it is said to have moved
    seen_ms: int
    sighted: tuple[float, float, float, float]  # its box when a sighting was last counted
    num_sightings: int = 1
    is_known: bool = field(default=False)  # its coming was noted


class Scene:
    """One camera's."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._changes: deque[tuple[int, str]] = deque(maxlen=8)
        self._gone: deque[tuple[int, str]] = deque(maxlen=8)
        self._lines: tuple[str, ...] = ()
        self._next_id = 1
        self._now_ms = 0
        self._num_looks = 0

    def update(self, look: Look) -> bool:
        """Take in what one picture shows; whether the scene is now another one."""
        before = self._state()
        self._now_ms = max(self._now_ms, look.captured_ms)
        unmatched = sorted(look.findings, key=lambda finding: -finding.probability)
        for track in self._tracks:
            if found := _nearest(track.thing, unmatched):
                unmatched.remove(found)
                self._follow(track, found)
        self._tracks += [self._begin(found) for found in unmatched]
        for track in self._tracks:
            self._note_coming(track)
        self._forget_lost()
        if look.lines is not None:
            self._read(look.lines)
        self._num_looks += 1
        return self._state() != before

    def cut(self) -> None:
        """The picture has become another one altogether: nothing in it need still be there."""
        for track in self._tracks:
            track.seen_ms = self._now_ms - _MISSED_MS - 1

    @property
    def things(self) -> tuple[Thing, ...]:
        """What is in view, the surest first; the first `_MAX_THINGS`."""
        shown = sorted((t.thing for t in self._tracks), key=lambda thing: -thing.probability)
        return tuple(shown[:_MAX_THINGS])

    @property
    def text(self) -> str:
        return " ".join(self._lines)[:_MAX_TEXT_CHARS]

    @property
    def changes(self) -> tuple[str, ...]:
        """What happened in the last half minute, in order."""
        return tuple(said for ms, said in self._changes if self._now_ms - ms <= _RECENT_MS)

    @property
    def gone(self) -> tuple[str, ...]:
        """Kinds of things that were in view in the last half minute and are no more."""
        present = {track.thing.label for track in self._tracks}
        recent = [label for ms, label in self._gone if self._now_ms - ms <= _RECENT_MS]
        return tuple(label for label in dict.fromkeys(recent) if label not in present)

    @property
    def note(self) -> str:
        """The scene in words: things, text, and what has just changed."""
        parts = [f"I see {describe(self.things) or 'nothing that I recognise'}."]
        if self.text:
            parts.append(f"I read: “{self.text}”.")
        if self._changes and self._now_ms - self._changes[-1][0] <= _JUST_NOW_MS:
            parts.append(f"Just now: {self._changes[-1][1]}.")
        return " ".join(parts)

    # ---- inside

    def _begin(self, found: Finding) -> _Track:
        thing = Thing(self._next_id, found.label, found.colour, found.box, found.probability)
        self._next_id += 1
        return _Track(thing, _centre(found.box), self._now_ms, found.box)

    def _follow(self, track: _Track, found: Finding) -> None:
        track.seen_ms = self._now_ms
        if max(abs(a - b) for a, b in zip(track.sighted, found.box, strict=True)) > _SHIFTED:
            track.sighted, track.num_sightings = found.box, track.num_sightings + 1
        probability = max(track.thing.probability * 0.9, found.probability)
        if track.num_sightings >= _NUM_SIGHTINGS:
            probability = max(probability, SURE)
        track.thing = replace(
            track.thing, box=found.box, colour=found.colour, probability=probability
        )
        if track.is_known and (direction := _direction(track.home, _centre(found.box))):
            track.home = _centre(found.box)
            self._note(f"the {name_of(track.thing)} moved {direction}")

    def _note_coming(self, track: _Track) -> None:
        if not track.is_known and track.thing.probability >= SURE:
            track.is_known = True
            if self._num_looks:  # what was there from the beginning did not come
                self._note(f"{with_article(name_of(track.thing))} appeared")

    def _forget_lost(self) -> None:
        lost = [t for t in self._tracks if self._now_ms - t.seen_ms > _MISSED_MS]
        self._tracks = [t for t in self._tracks if t not in lost]
        for track in lost:
            if track.is_known:
                self._note(f"the {name_of(track.thing)} went out of view")
                self._gone.append((self._now_ms, track.thing.label))

    def _read(self, lines: tuple[str, ...]) -> None:
        if lines and lines != self._lines and self._num_looks:
            self._note("new text came into view")
        self._lines = lines

    def _note(self, said: str) -> None:
        self._changes.append((self._now_ms, said))

    def _state(self) -> object:
        """What makes one scene another: small movements do not."""
        things = sorted(
            (t.thing.label, t.thing.colour, place_of(t.thing), t.thing.probability >= SURE)
            for t in self._tracks
        )
        return things, self._lines, tuple(self._changes)


def describe(things: tuple[Thing, ...]) -> str:
    """Things in words: “two people, on the left and in the middle, and perhaps a dog”; empty if
    there are none."""
    by_label: dict[str, list[Thing]] = {}
    for thing in things:
        by_label.setdefault(thing.label, []).append(thing)
    said = []
    for label, group in sorted(by_label.items(), key=lambda item: -item[1][0].probability):
        sure = [thing for thing in group if thing.probability >= SURE]
        if len(sure) > 1:
            said.append(f"{plural_of(label, len(sure))} ({listing(map(place_of, sure))})")
            continue
        thing = group[0]
        phrase = f"{with_article(name_of(thing))} {place_of(thing)}".strip()
        said.append(phrase if sure else f"perhaps {phrase}")
    return listing(said)


def _nearest(thing: Thing, findings: list[Finding]) -> Finding | None:
    """The finding that this thing has most likely become."""
    x, y = _centre(thing.box)

    def distance(finding: Finding) -> float:
        to_x, to_y = _centre(finding.box)
        return abs(to_x - x) + abs(to_y - y)

    alike = [found for found in findings if found.label == thing.label]
    nearest = min(alike, key=distance, default=None)
    return nearest if nearest and distance(nearest) < _NEAR else None


def _centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _direction(start: tuple[float, float], end: tuple[float, float]) -> str:
    right, down = end[0] - start[0], end[1] - start[1]
    if max(abs(right), abs(down)) < _MOVED:
        return ""
    if abs(right) >= abs(down):
        return "to the right" if right > 0 else "to the left"
    return "down" if down > 0 else "up"
