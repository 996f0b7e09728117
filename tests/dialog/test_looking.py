"""Questions about sight: which they are, and answers made of what was found alone."""

import pytest

from omni.dialog.asked import wanted_sight
from omni.dialog.looking import answer, answer_to_picture, summary
from omni.types import Seen, Thing


def thing(label: str, colour: str = "", x: float = 0.35, probability: float = 0.8) -> Thing:
    return Thing(1, label, colour, (x, 0.3, x + 0.3, 0.7), probability)


def seen(*things: Thing, text: str = "", changes: tuple[str, ...] = ()) -> Seen:
    return Seen("s", 0, 0, "pic", 0, "", things, text, changes)


STREET = seen(
    thing("person", x=0.0),
    thing("person", x=0.7),
    thing("car", "white"),
    thing("bicycle", x=0.7, probability=0.35),
    changes=("a dog appeared", "the dog went out of view"),
)
ESPRESSO = Thing(2, "espresso", "", (0.0, 0.0, 1.0, 1.0), 0.95)
TABLE = seen(thing("cup", "red"), ESPRESSO)
PILOT = seen(thing("person", "orange"))
SIGN = seen(text="OPEN UNTIL SEVEN")


@pytest.mark.parametrize(
    ("question", "view", "said"),
    [
        ("What do you see?", TABLE, "I see espresso and a red cup in the middle."),
        ("Can you describe the picture?", SIGN, "I see text. It reads: “OPEN UNTIL SEVEN”."),
        ("What's this?", seen(), "I see nothing that I recognise."),
        ("How many people are there?", STREET, "I see two people."),
        ("How many people do you see?", STREET, "I see two people."),
        ("How many dogs are there?", TABLE, "I cannot make out a dog, only espresso"),
        ("How many fingers am I holding up?", seen(), "I cannot make out a finger."),
        ("Is there a dog?", TABLE, "I cannot make out a dog, only espresso"),
        ("Do you see a bike?", STREET, "Perhaps a bicycle, but I am not sure."),
        ("Is that a cup?", TABLE, "Yes, I see a red cup in the middle."),
        ("Can you see a blue cup?", TABLE, "I cannot make out a blue cup"),
        ("What colour is the car?", STREET, "The car is white."),
        ("What color is the bicycle?", STREET, "I am not sure about its colour."),
        ("Where is the car?", STREET, "The white car is in the middle."),
        ("What am I holding?", TABLE, "You seem to be holding a red cup."),
        ("What do you say?", TABLE, "I see espresso"),
        ("What am I holding in my hand?", seen(), "I cannot tell what you are holding."),
        ("Read this, please.", SIGN, "It reads: “OPEN UNTIL SEVEN”."),
        ("What does it say?", TABLE, "I see no text that I can read."),
        ("What changed?", STREET, "A dog appeared and the dog went out of view."),
        ("What has changed?", TABLE, "I noticed no change."),
        ("Are there two people?", STREET, "Yes, two people."),
        ("Are there three cars?", STREET, "I see one car."),
        ("Are there two dogs?", TABLE, "I cannot make out a dog"),
        ("What is in the cup?", TABLE, "I see espresso."),
        ("What's under the car?", STREET, "I see a white car in the middle, but I cannot tell"),
        ("Who is this?", STREET, "I see two people (on the left and on the right), but I cannot"),
        ("What am I wearing?", STREET, "I cannot tell."),
        ("What is she wearing?", PILOT, "I see orange clothes, but I cannot tell more"),
        ("Is the car new?", STREET, "I see a white car in the middle, but I cannot tell more"),
        ("What is the man doing?", PILOT, "I see a person in orange in the middle, but I cannot"),
        ("How old is that man?", PILOT, "I see a person in orange in the middle, but I cannot"),
        ("What kind of car is it?", STREET, "I see a white car in the middle, but I cannot tell"),
    ],
)
def test_answers_say_what_was_found_and_no_more(question: str, view: Seen, said: str) -> None:
    assert answer(question, view).startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        "What is the capital of France?", "Tell me a joke.", "How are you?", "Read me a story.",
        "How many legs does a spider have?", "How many days are in a week?", "I see.",
        "How many people live in Paris?", "Is there a problem?", "Is it a good idea?",
        "What happened in 1989?", "Is the dog a good pet?", "How do I get to the train?",
        "What is in the news?", "Who is the king of Spain?",
        "What is the weather in Paris?", "Where is Paris?", "",
    ],
)  # fmt: skip
def test_other_questions_are_left_alone(words: str) -> None:
    assert answer(words, TABLE) == answer(words, None) == ""
    assert wanted_sight(words) == ""


@pytest.mark.parametrize("question", ["What do you see?", "What am I holding?", "Read this."])
def test_without_a_camera_it_says_so(question: str) -> None:
    assert answer(question, None) == "I cannot see anything, because no camera is on."


@pytest.mark.parametrize("question", ["How many people are there in Paris?", "Is there a train?"])
def test_without_a_camera_what_may_be_meant_otherwise_is(question: str) -> None:
    assert answer(question, None) == ""


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("Tell me when you see a dog.", "dog"),
        ("Let me know if you see my phone, please.", "cell phone"),
        ("Please tell me as soon as there is a cup on the table.", "cup"),
        ("Warn me when the dog appears!", "dog"),
        ("Tell me if someone comes in.", "person"),
        ("Say something when you see a red car.", "red car"),
        ("Tell me a joke when you are ready.", ""),
        ("Tell me if it rains.", ""),
        ("Tell me if Paris is larger than Rome.", ""),
    ],
)
def test_wishes_to_be_told(words: str, label: str) -> None:
    assert wanted_sight(words) == label


@pytest.mark.parametrize(
    ("words", "view", "said"),
    [
        ("Is the dog asleep?", TABLE, "I cannot make out a dog, only espresso"),
        ("Is it hot?", TABLE, "I see espresso and a red cup in the middle. I cannot tell more"),
        ("When do you close?", SIGN, "I see text. It reads: “OPEN UNTIL SEVEN”. I cannot tell"),
        ("What colour is the cup?", TABLE, "The cup is red."),
        ("Write a poem about this.", TABLE, ""),
        ("What should I drink with this?", TABLE, ""),
        ("What is the capital of France?", TABLE, ""),
    ],
)
def test_what_a_picture_does_not_tell_is_not_guessed(words: str, view: Seen, said: str) -> None:
    answered = answer_to_picture(words, view)
    assert answered.startswith(said)
    assert bool(answered) == bool(said)


def test_a_summary_tells_things_and_text() -> None:
    view = seen(thing("cup", "red"), text="TEA")
    assert summary(view) == "I see a red cup in the middle. It reads: “TEA”."
