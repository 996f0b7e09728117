"""Pictures in a conversation, on virtual time: waited for, answered from, and announced."""

from dataclasses import replace

import pytest

from omni.config import OmniConfig
from omni.dialog.answering import ResponseRequest
from omni.dialog.options import SessionOptions
from omni.events import Failed, Item, Part, PictureSeen, ResponseDone, ResponseStarted, ResponseText
from omni.types import PictureChunk, Prompt, Seen, StageReport, Thing
from tests.dialog.talk import Talk

DOG = Thing(1, "dog", "brown", (0.0, 0.3, 0.3, 0.7), 0.8)
CUP = Thing(2, "cup", "red", (0.4, 0.3, 0.6, 0.7), 0.8)


def written(options: SessionOptions) -> SessionOptions:
    return replace(options, modality="text")


@pytest.fixture
def talk() -> Talk:
    """A conversation in writing, whose eyes are closed until the test opens them."""
    talk = Talk(OmniConfig(), written)
    talk.held.add("see")
    return talk


def write(talk: Talk, text: str, image: bytes | None = None) -> None:
    parts = (Part("input_text", text=text),)
    if image is not None:
        parts = (Part("input_image", image=image), *parts)
    talk.do(lambda session: session.add_item(Item("", "message", "user", parts=parts)))
    talk.do(lambda session: session.respond(ResponseRequest()))


def show(talk: Talk, *things: Thing, text: str = "") -> None:
    """A camera's picture, seen at once."""
    talk.do(lambda session: session.show(b"picture"))
    see(talk, *things, text=text)


def see(talk: Talk, *things: Thing, text: str = "") -> None:
    asked = pictures(talk)[-1]
    stamp = (asked.session_id, asked.epoch, asked.unit_index)
    talk.deliver(Seen(*stamp, asked.picture_id, asked.captured_ms, "note", things, text))


def pictures(talk: Talk) -> list[PictureChunk]:
    return [chunk for chunk in talk.sent if isinstance(chunk, PictureChunk)]


def prompted(talk: Talk) -> str:
    """The user's message as the model got it, in the last prompt for a reply."""
    prompts = [chunk for chunk in talk.sent if isinstance(chunk, Prompt) and chunk.max_tokens]
    return prompts[-1].messages[-1].text


def said(talk: Talk) -> str:
    """All that was replied."""
    return "".join(event.delta for event in talk.of(ResponseText))


def has_thought(talk: Talk) -> bool:
    return any(isinstance(chunk, Prompt) and chunk.max_tokens for chunk in talk.sent)


def test_a_picture_in_a_message_is_waited_for(talk: Talk) -> None:
    write(talk, "What is this?", b"picture")
    assert pictures(talk)[-1].is_asked
    assert not talk.of(ResponseStarted)
    see(talk, CUP)
    talk.quiet(0.1)
    assert said(talk) == "I see a red cup in the middle."
    assert not has_thought(talk), "who sees need not guess"
    assert len(talk.of(ResponseDone)) == 1


def test_other_words_beside_a_picture_get_the_picture_too(talk: Talk) -> None:
    write(talk, "Make a rhyme.", b"picture")
    see(talk, CUP)
    talk.quiet(0.1)
    assert prompted(talk) == "Make a rhyme. [The picture: I see a red cup in the middle.]"


def test_nobody_waits_for_a_picture_for_ever(talk: Talk) -> None:
    write(talk, "What is this?", b"picture")
    talk.quiet(2.8)
    assert not talk.of(ResponseStarted)
    talk.quiet(0.4)
    assert len(talk.of(ResponseDone)) == 1


def test_a_damaged_picture_is_told_and_the_reply_comes(talk: Talk) -> None:
    write(talk, "What is this?", b"picture")
    asked = pictures(talk)[-1]
    stamp = (asked.session_id, asked.epoch, asked.unit_index)
    talk.deliver(StageReport(*stamp, "see", "failed", "image: damaged"))
    talk.quiet(0.1)
    assert [failure.message for failure in talk.of(Failed)] == ["image: damaged"]
    assert len(talk.of(ResponseDone)) == 1


def test_a_question_about_sight_is_answered_from_what_the_camera_shows(talk: Talk) -> None:
    show(talk, DOG, text="OPEN")
    write(talk, "How many dogs are there?")
    assert said(talk) == "I see one dog."
    write(talk, "What is the capital of France?")
    assert prompted(talk) == "What is the capital of France?"
    assert [event.things for event in talk.of(PictureSeen)] == [(DOG,)]


def test_what_was_answered_stays_in_the_context(talk: Talk) -> None:
    show(talk, DOG)
    write(talk, "What do you see?")
    show(talk, CUP)
    write(talk, "Make a rhyme.")
    prompt = [chunk for chunk in talk.sent if isinstance(chunk, Prompt)][-1]
    texts = [message.text for message in prompt.messages[1:]]
    assert texts == ["What do you see?", "I see a brown dog on the left.", "Make a rhyme."]


def test_a_better_core_may_find_its_own_words() -> None:
    config = OmniConfig.model_validate({"brain": {"see": {"wording": "llm"}}})
    talk = Talk(config, written)
    talk.held.add("see")
    show(talk, DOG)
    write(talk, "What do you see?")
    told = "What do you see? [Answer with this: I see a brown dog on the left.]"
    assert prompted(talk) == told
    write(talk, "Thank you.")
    prompt = [chunk for chunk in talk.sent if isinstance(chunk, Prompt)][-1]
    assert told in [message.text for message in prompt.messages], "as it was cached"


def test_a_spoken_question_about_sight_is_answered_without_thought() -> None:
    talk = Talk(OmniConfig())
    talk.held |= {"see", "think"}
    show(talk, DOG)
    talk.speak(1.0, "What do you see?")
    show(talk, DOG)
    talk.quiet(3)
    assert said(talk) == "I see a brown dog on the left."
    talk.speak(1.0, "Thank you very much.")
    talk.quiet(1)
    assert prompted(talk) == "Thank you very much."


def test_a_reply_with_a_context_of_its_own_is_the_cores_who_is_told(talk: Talk) -> None:
    show(talk, DOG)
    item = Item("item_own", "message", "user", parts=(Part("input_text", text="What is this?"),))
    request = ResponseRequest(instructions="Sing.", context=(item,))
    talk.do(lambda session: session.respond(request))
    talk.quiet(0.1)
    assert prompted(talk) == "What is this? [Answer with this: I see a brown dog on the left.]"


def test_a_camera_that_was_just_turned_on_is_not_off(talk: Talk) -> None:
    talk.do(lambda session: session.show(b"picture"))
    write(talk, "What do you see?")
    assert said(talk) == "I have not made anything out yet."


def test_a_camera_that_is_off_shows_nothing(talk: Talk) -> None:
    show(talk, DOG)
    talk.quiet(16)
    write(talk, "What do you see?")
    assert "no camera is on" in said(talk)


def test_the_first_picture_of_a_turn_is_looked_at_closely() -> None:
    talk = Talk(OmniConfig())
    for _ in range(2):
        talk.do(lambda session: session.show(b"before"))
    talk.speak(0.6)
    talk.do(lambda session: session.show(b"one"))
    talk.do(lambda session: session.show(b"two"))
    assert [picture.is_asked for picture in pictures(talk)] == [True, False, True, False]


def test_time_goes_on_for_eyes_when_no_sound_comes(talk: Talk) -> None:
    talk.quiet(1)
    for _ in range(3):
        talk.do(lambda session: session.show(b"picture"))
        talk.clock.advance(2000)
    talk.quiet(1)
    talk.do(lambda session: session.show(b"picture"))
    times_ms = [picture.captured_ms for picture in pictures(talk)]
    assert times_ms == [1000, 3000, 5000, 6000]


def test_eyes_that_are_off_get_no_pictures() -> None:
    config = OmniConfig.model_validate({"brain": {"see": {"enabled": False}}})
    talk = Talk(config, written)
    write(talk, "What is this?", b"picture")
    talk.quiet(0.1)
    assert not pictures(talk)
    assert len(talk.of(ResponseDone)) == 1


def test_what_was_asked_for_is_announced_once(talk: Talk) -> None:
    show(talk, CUP)
    write(talk, "Tell me when you see a dog.")
    assert said(talk) == "I will tell you when I see a dog."
    talk.events.clear()
    for _ in range(60):  # a minute of stills
        show(talk, CUP)
        talk.quiet(1)
    assert not talk.of(ResponseStarted)
    show(talk, CUP, DOG)
    talk.quiet(0.1)
    assert said(talk) == "I see a brown dog on the left."
    show(talk, CUP)
    show(talk, CUP, DOG)
    talk.quiet(1)
    assert len(talk.of(ResponseStarted)) == 1


def test_a_faint_glimpse_is_not_announced(talk: Talk) -> None:
    write(talk, "Tell me when you see a dog.")
    talk.events.clear()
    show(talk, replace(DOG, probability=0.35))
    talk.quiet(0.1)
    assert not talk.of(ResponseStarted)


def test_what_is_in_view_already_is_said_at_once(talk: Talk) -> None:
    show(talk, DOG)
    write(talk, "Tell me when you see a dog.")
    assert said(talk) == "I see a brown dog on the left."


def test_nobody_is_talked_over() -> None:
    talk = Talk(OmniConfig())
    talk.held.add("see")
    item = Item(
        "", "message", "user", parts=(Part("input_text", text="Tell me if you see a dog."),)
    )
    talk.do(lambda session: session.add_item(item))
    talk.do(lambda session: session.respond(ResponseRequest()))
    talk.quiet(8)
    talk.events.clear()
    talk.speak(0.6)
    show(talk, DOG)
    assert not talk.of(ResponseStarted), "the user has the floor"
    talk.quiet(12)
    question, notice = talk.of(ResponseStarted)
    texts = {reply.response_id: "" for reply in (question, notice)}
    for event in talk.of(ResponseText):
        texts[event.response_id] += event.delta
    assert texts[question.response_id].startswith("You said")
    assert texts[notice.response_id] == "I see a brown dog on the left."
