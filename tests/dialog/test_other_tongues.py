"""Questions about sight in other languages are answered in them, from what was found alone."""

import pytest

from omni.dialog.looking import answer
from omni.types import Seen
from tests.dialog.test_looking import SIGN, STREET, TABLE, seen


@pytest.mark.parametrize(
    ("question", "view", "said"),
    [
        ("¿Qué ves?", STREET, "Veo 2 personas, un coche y quizá una bicicleta."),
        ("¿Cuántas personas hay?", STREET, "Veo 2 personas."),
        ("¿Cuántos gatos ves?", STREET, "No veo ninguno."),
        ("¿Qué pone aquí?", SIGN, "Pone: “OPEN UNTIL SEVEN”."),
        ("Que vois-tu ?", TABLE, "Je vois une tasse et un café."),
        ("Qu'est-ce que tu vois ?", SIGN, "Il est écrit : « OPEN UNTIL SEVEN »."),
        ("Combien de voitures vois-tu ?", STREET, "Je vois une voiture."),
        ("Was siehst du?", TABLE, "Ich sehe eine Tasse und einen Kaffee."),
        ("Wie viele Autos siehst du?", STREET, "Ich sehe ein Auto."),
        ("Was steht da?", TABLE, "Ich sehe keinen Text, den ich lesen kann."),
        ("你看到了什么？", STREET, "我看到2个人、一辆车和可能有一辆自行车。"),
        ("有几个人？", STREET, "我看到2个人。"),
        ("上面写着什么？", SIGN, "上面写着：“OPEN UNTIL SEVEN”。"),
        ("¿Qué ves?", seen(), "No veo nada que reconozca."),
        ("Was ist das?", TABLE, "Ich sehe eine Tasse und einen Kaffee."),
        ("¿Qué es esto?", TABLE, "Veo una taza y un café."),
        ("Was siehst du?", None, "Ich kann nichts sehen, denn es ist keine Kamera an."),
    ],
)
def test_the_answer_is_in_the_language_of_the_question(
    question: str, view: Seen | None, said: str
) -> None:
    assert answer(question, view) == said


@pytest.mark.parametrize(
    "words",
    [
        "¿Qué tal estás?", "¿Cuántos días tiene un año?", "Combien de jours y a-t-il en juin ?",
        "Wie viele Tage hat ein Jahr?", "Was ist die Hauptstadt von Frankreich?", "你好吗？",
        "一年有多少天？", "Was machst du?", "Was ist das beste Auto?",
        "¿Qué es esto de Europa?", "¿Qué hora es?", "Que penses-tu de Paris ?",
    ],
)  # fmt: skip
def test_other_questions_are_left_alone(words: str) -> None:
    assert answer(words, TABLE) == answer(words, None) == ""
