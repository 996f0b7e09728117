"""Findings fused over time: what stays, what changes, and what is said of it."""

import pytest

from omni.dialog.describing import listing, plural_of, singular, with_article
from omni.dialog.scene import Finding, Look, Scene, describe

LEFT = (0.0, 0.2, 0.3, 0.8)
MIDDLE = (0.35, 0.2, 0.65, 0.8)
RIGHT = (0.7, 0.2, 1.0, 0.8)


def found(label: str, box: tuple[float, float, float, float] = MIDDLE, p: float = 0.8) -> Finding:
    return Finding(label, "", box, p)


def look(at_s: float, *findings: Finding, lines: tuple[str, ...] | None = None) -> Look:
    return Look(int(at_s * 1000), findings, lines)


def test_the_same_findings_again_change_nothing() -> None:
    scene = Scene()
    assert scene.update(look(0, found("cat"), found("cup", RIGHT)))
    note, things = scene.note, scene.things
    for second in range(1, 20):
        assert not scene.update(look(second, found("cat"), found("cup", RIGHT)))
    assert scene.note == note == "I see a cat in the middle and a cup on the right."
    assert [t.track_id for t in scene.things] == [t.track_id for t in things]
    assert scene.changes == ()


def test_a_thing_keeps_its_id_while_it_moves_and_is_said_to_move_once() -> None:
    scene = Scene()
    scene.update(look(0, found("person", RIGHT)))
    (before,) = scene.things
    for step in range(1, 9):
        x = 0.7 - step * 0.0875
        scene.update(look(step * 0.3, found("person", (x, 0.2, x + 0.3, 0.8))))
    (after,) = scene.things
    assert after.track_id == before.track_id
    assert set(scene.changes) == {"the person moved to the left"}


def test_comings_and_goings_are_noted() -> None:
    scene = Scene()
    scene.update(look(0, found("cat")))
    scene.update(look(1, found("cat"), found("dog", LEFT)))
    scene.update(look(3, found("dog", LEFT)))
    assert scene.changes == ("a dog appeared", "the cat went out of view")
    assert scene.gone == ("cat",)
    scene.update(look(40, found("dog", LEFT)))
    assert scene.changes == scene.gone == ()


def test_a_thing_missed_for_a_moment_is_still_there() -> None:
    scene = Scene()
    scene.update(look(0, found("cat")))
    (before,) = scene.things
    scene.update(look(0.5))
    scene.update(look(1.0, found("cat")))
    assert [t.track_id for t in scene.things] == [before.track_id]
    assert scene.changes == ()


def test_another_scene_altogether_keeps_nothing() -> None:
    scene = Scene()
    scene.update(look(0, found("cat")))
    scene.cut()
    scene.update(look(0.1, found("cup")))
    assert [thing.label for thing in scene.things] == ["cup"]


def test_what_is_faint_is_a_perhaps_until_seen_in_several_pictures() -> None:
    scene = Scene()
    scene.update(look(0, found("dog", p=0.35)))
    assert scene.note == "I see perhaps a dog in the middle."
    for step in range(1, 4):
        scene.update(look(step, found("dog", (0.35 + step / 200, 0.2, 0.65, 0.8), 0.35)))
    assert "perhaps" in scene.note, "the same picture again, a little shaken, proves nothing"
    for step in range(4, 7):
        x = 0.25 + step / 30
        scene.update(look(step, found("dog", (x, 0.2, x + 0.3, 0.8), 0.35)))
    assert scene.note.startswith("I see a dog in the middle.")


def test_two_of_a_kind_are_counted_apart() -> None:
    scene = Scene()
    scene.update(look(0, found("person", LEFT), found("person", RIGHT)))
    assert describe(scene.things) == "two people (on the left and on the right)"


def test_text_is_part_of_the_scene() -> None:
    scene = Scene()
    scene.update(look(0, lines=("OPEN UNTIL", "SEVEN")))
    assert scene.text == "OPEN UNTIL SEVEN"
    assert scene.note == "I see nothing that I recognise. I read: “OPEN UNTIL SEVEN”."
    assert not scene.update(look(1))  # nobody tried to read
    assert scene.text == "OPEN UNTIL SEVEN"
    assert scene.update(look(2, lines=()))
    assert scene.text == ""


@pytest.mark.parametrize(
    ("one", "many"),
    [("dog", "dogs"), ("person", "people"), ("bus", "buses"), ("wine glass", "wine glasses"),
     ("knife", "knives"), ("sandwich", "sandwiches"), ("teddy bear", "teddy bears")],
)  # fmt: skip
def test_plurals_and_back(one: str, many: str) -> None:
    assert plural_of(one, 2) == f"two {many}"
    assert plural_of(one, 1) == f"one {one}"
    assert singular(many) == singular(one) == one


def test_words_are_put_together_as_they_are_spoken() -> None:
    assert with_article("orange cat") == "an orange cat"
    assert with_article("scissors") == "scissors"
    assert listing(["a", "b", "c", "b"]) == "a, b and c"
    assert listing([]) == ""
