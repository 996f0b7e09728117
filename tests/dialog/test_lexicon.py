"""What a few words mean, in several languages, and as a recogniser writes them."""

import pytest

from omni.dialog.lexicon import asks_for_more, read, tells, words_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mm-hm.", "en"),
        ("Mmhmm", "en"),
        ("Uh-huh, uh-huh.", "en"),
        ("Yeah.", "en"),
        ("Right, okay, I see.", "en"),
        ("Oh wow!", "en"),
        ("Ha ha ha ha.", "en"),
        ("Hahaha", "en"),
        ("That's right.", "en"),
        ("Thank you.", "en"),
        ("Sí, sí. Vale.", "es"),
        ("Oui, d'accord.", "fr"),
        ("C’est ça.", "fr"),
        ("Ja, genau.", "de"),
        ("嗯，对。", "zh"),
        ("そうですね。", "ja"),
        ("d'accord", ""),
        ("No problem, sure.", "en"),
        ("對，沒錯。", "zh"),
        ("へー、なるほど。", "ja"),
        ("네, 맞아요.", "ko"),
        ("Да, понятно.", "ru"),
        ("Ja, precies.", "nl"),
    ],
)
def test_assent(text: str, language: str) -> None:
    assert read(text, language).meaning == "assent"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Stop.", "en"),
        ("No, no, no!", "en"),
        ("Yeah, okay, but wait.", "en"),
        ("Hold on a second.", "en"),
        ("Espera, espera.", "es"),
        ("Attendez !", "fr"),
        ("等一下", "zh"),
        ("ちょっと待って", "ja"),
        ("Halt", ""),
        ("Sorry, one thing", "en"),
        ("Pregunta.", "es"),
        ("不對，等等", "zh"),
        ("잠깐만요!", "ko"),
        ("Нет, подожди", "ru"),
        ("Nee, wacht", "nl"),
    ],
)
def test_a_wish_to_stop(text: str, language: str) -> None:
    assert read(text, language).meaning == "stop"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What about Rome?", "en"),
        ("Okay, and how far is it", "en"),
        ("Rome is older?", "en"),
        ("¿Por qué?", "es"),
        ("Pourquoi ça ?", "fr"),
        ("为什么", "zh"),
    ],
)
def test_a_question(text: str, language: str) -> None:
    assert read(text, language).meaning == "question"


@pytest.mark.parametrize("text", ["", " ", "...", "[laughter]", "(coughs)", "*sighs*"])
def test_nothing(text: str) -> None:
    assert read(text, "en").meaning == "nothing"


def test_other_words_are_counted_without_assent() -> None:
    remark = read("Okay, the red one", "en")
    assert (remark.meaning, remark.num_words) == ("words", 3)


def test_he_is_a_word_and_haha_a_sound() -> None:
    assert read("He did it", "en").num_words == 3
    assert read("Hehe", "en").num_words == 0


def test_words_are_cut_alike_in_all_scripts() -> None:
    assert words_of("C'est ÇA, mm-hm") == ["c", "est", "ça", "mm", "hm"]
    assert words_of("好的 ok") == ["好", "的", "ok"]
    assert words_of("ठीक है") == words_of("ठीक  है!")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("I would like to know about the", "en", True),
        ("I went there and", "en", True),
        ("Well, um...", "en", True),
        ("So I was thinking,", "en", True),
        ("What is the weather in Paris?", "en", False),
        ("What is it for?", "en", False),
        ("Can you tell me about the?", "en", True),
        ("Where are you from?", "en", False),
        ("¿Me puedes hablar de la?", "es", True),
        ("ما هو?", "ar", False),
        ("When I was in Paris last summer.", "en", True),
        ("When I was in Paris, it rained.", "en", False),
        ("When does it rain?", "en", False),
        ("I would like to know.", "en", True),
        ("Tell me a joke.", "en", False),
        ("Quiero un vaso de", "es", True),
        ("Je voudrais un", "fr", True),
        ("と", "ja", False),
        ("", "en", False),
    ],
)
def test_words_that_ask_for_more(text: str, language: str, expected: bool) -> None:
    assert asks_for_more(text, language) is expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("My brother asked me yesterday.", "en", True),
        ("Okay, the weather was terrible last week.", "en", True),
        ("We have two cats.", "en", True),
        ("The red one.", "en", False),
        ("I was there yesterday, right?", "en", False),
        ("What is the difference?", "en", False),
        ("Tell me a story about a fox.", "en", False),
        ("No, I did not say that.", "en", False),
        ("Gestern war ich im Garten.", "de", True),
        ("Kannst du mir helfen?", "de", False),
        ("O que é isso aqui", "pt", False),
        ("мой брат спросил меня вчера", "ru", False),
    ],
)
def test_words_that_tell_rather_than_ask(text: str, language: str, expected: bool) -> None:
    assert tells(text, language) is expected
