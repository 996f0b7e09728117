"""Questions about sight in Spanish, French, German and Chinese, and answers in the same language.

Hides the words. Covers what is in view, what is written there, and how many there are of a thing;
a thing without a name here is called by its English one. Law: as in `looking`, nothing is named
that was not found.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from omni.dialog.scene import SURE
from omni.types import Seen


@dataclass(frozen=True, slots=True, eq=False)
class _Tongue:
    """`nouns`: label → one of them, and the word after a number. The patterns are of questions in
    lower case; `count` finds a `noun`."""

    scene: re.Pattern[str]
    text: re.Pattern[str]
    count: re.Pattern[str]
    see: str
    perhaps: str
    nothing: str
    reads: str
    no_text: str
    none: str
    no_camera: str
    joints: tuple[str, str]  # between things, before the last
    gap: str  # after a number
    nouns: Mapping[str, tuple[str, str]]


def answer_elsewhere(text: str, seen: Seen | None) -> str:
    """The answer in the language of a question about sight; empty for other words, and for
    English. `seen` is None without a camera."""
    words = text.strip().lower()
    for tongue in _TONGUES:
        found = tongue.count.search(words)
        label = _label(tongue, found["noun"]) if found else ""
        is_scene, is_text = tongue.scene.search(words), tongue.text.search(words)
        if not (label or is_scene or is_text):
            continue
        if seen is None:
            return tongue.no_camera
        if label:
            return _count(tongue, seen, label)
        return _text(tongue, seen) if is_text else _scene(tongue, seen)
    return ""


def _scene(tongue: _Tongue, seen: Seen) -> str:
    sure = Counter(t.label for t in seen.things if t.probability >= SURE)
    faint = {t.label: None for t in seen.things if t.label not in sure}
    said = [_counted(tongue, label, number) for label, number in sure.items()]
    said += [tongue.perhaps.format(_counted(tongue, label, 1)) for label in faint]
    if not said:
        return _text(tongue, seen) if seen.text else tongue.nothing
    between, last = tongue.joints
    things = last.join(filter(None, [between.join(said[:-1]), said[-1]]))
    return tongue.see.format(things) + (f" {_text(tongue, seen)}" if seen.text else "")


def _text(tongue: _Tongue, seen: Seen) -> str:
    return tongue.reads.format(seen.text) if seen.text else tongue.no_text


def _count(tongue: _Tongue, seen: Seen, label: str) -> str:
    number = sum(t.label == label and t.probability >= SURE for t in seen.things)
    return tongue.see.format(_counted(tongue, label, number)) if number else tongue.none


def _counted(tongue: _Tongue, label: str, number: int) -> str:
    one, many = tongue.nouns.get(label, (label, label))
    return one if number == 1 else f"{number}{tongue.gap}{many}"


def _label(tongue: _Tongue, noun: str) -> str:
    """The label of what is counted; empty for what is no thing that can be seen."""
    for label, (one, many) in tongue.nouns.items():
        if noun == many.lower() or noun == one.split()[-1].lower() or many.endswith(noun):
            return label
    return ""


_LABELS: Final = (
    "person", "cat", "dog", "bird", "horse", "car", "bicycle", "motorcycle", "bus", "truck",
    "traffic light", "cup", "bottle", "espresso", "book", "chair", "dining table", "laptop",
    "cell phone", "TV", "potted plant", "clock", "umbrella", "backpack",
)  # fmt: skip


def _nouns(ones: str, manies: str) -> dict[str, tuple[str, str]]:
    pairs = zip(ones.split("|"), manies.split("|"), strict=True)
    return dict(zip(_LABELS, pairs, strict=True))


_TONGUES: Final = (
    _Tongue(
        scene=re.compile(
            r"\bqué (?:ves|puedes ver|estás viendo|hay (?:aquí|ahí))\b|\bqué es est[oe][ ?!.]*$"
        ),
        text=re.compile(r"\bqué (?:pone|dice (?:aquí|ahí|el)|está escrito)\b|\blee (?:esto|el)\b"),
        count=re.compile(r"\bcu[áa]nt[oa]s (?P<noun>[a-záéíóúñ]+(?: de [a-z]+)?)\b"),
        see="Veo {}.",
        perhaps="quizá {}",
        nothing="No veo nada que reconozca.",
        reads="Pone: “{}”.",
        no_text="No veo ningún texto que pueda leer.",
        none="No veo ninguno.",
        no_camera="No puedo ver nada, porque no hay ninguna cámara encendida.",
        joints=(", ", " y "),
        gap=" ",
        nouns=_nouns(
            "una persona|un gato|un perro|un pájaro|un caballo|un coche|una bicicleta|una moto|"
            "un autobús|un camión|un semáforo|una taza|una botella|un café|un libro|una silla|"
            "una mesa|un portátil|un móvil|un televisor|una planta|un reloj|un paraguas|"
            "una mochila",
            "personas|gatos|perros|pájaros|caballos|coches|bicicletas|motos|autobuses|camiones|"
            "semáforos|tazas|botellas|cafés|libros|sillas|mesas|portátiles|móviles|televisores|"
            "plantas|relojes|paraguas|mochilas",
        ),
    ),
    _Tongue(
        scene=re.compile(
            r"\b(?:que|qu'est-ce que) (?:vois-tu|voyez-vous|tu vois|vous voyez)\b"
            r"|\btu vois quoi\b|\bqu'est-ce que c'est[ ?!.]*$"
        ),
        text=re.compile(r"\bqu'est-ce qui est écrit\b|\b(?:lis|lisez)(?:-moi)? (?:ça|cela|le)\b"),
        count=re.compile(r"\bcombien (?:de |d'|y a-t-il de )(?P<noun>[a-zàâçéèêëîïôûùœ]+)\b"),
        see="Je vois {}.",
        perhaps="peut-être {}",
        nothing="Je ne vois rien que je reconnaisse.",
        reads="Il est écrit : « {} ».",
        no_text="Je ne vois aucun texte que je puisse lire.",
        none="Je n'en vois aucun.",
        no_camera="Je ne vois rien, car aucune caméra n'est allumée.",
        joints=(", ", " et "),
        gap=" ",
        nouns=_nouns(
            "une personne|un chat|un chien|un oiseau|un cheval|une voiture|un vélo|une moto|"
            "un bus|un camion|un feu|une tasse|une bouteille|un café|un livre|une chaise|"
            "une table|un ordinateur|un téléphone|une télévision|une plante|une horloge|"
            "un parapluie|un sac",
            "personnes|chats|chiens|oiseaux|chevaux|voitures|vélos|motos|bus|camions|feux|tasses|"
            "bouteilles|cafés|livres|chaises|tables|ordinateurs|téléphones|télévisions|plantes|"
            "horloges|parapluies|sacs",
        ),
    ),
    _Tongue(
        scene=re.compile(r"\bwas (?:siehst du|sehen sie|kannst du sehen)\b|\bwas ist das[ ?!.]*$"),
        text=re.compile(r"\bwas steht (?:da|dort|hier|auf)\b|\blies (?:das|mir)\b"),
        count=re.compile(r"\bwie ?viele (?P<noun>[a-zäöüß]+)\b"),
        see="Ich sehe {}.",
        perhaps="vielleicht {}",
        nothing="Ich sehe nichts, was ich erkenne.",
        reads="Da steht: „{}“.",
        no_text="Ich sehe keinen Text, den ich lesen kann.",
        none="Ich sehe keine.",
        no_camera="Ich kann nichts sehen, denn es ist keine Kamera an.",
        joints=(", ", " und "),
        gap=" ",
        nouns=_nouns(
            "eine Person|eine Katze|einen Hund|einen Vogel|ein Pferd|ein Auto|ein Fahrrad|"
            "ein Motorrad|einen Bus|einen Lastwagen|eine Ampel|eine Tasse|eine Flasche|"
            "einen Kaffee|ein Buch|einen Stuhl|einen Tisch|einen Laptop|ein Handy|"
            "einen Fernseher|eine Pflanze|eine Uhr|einen Regenschirm|einen Rucksack",
            "Personen|Katzen|Hunde|Vögel|Pferde|Autos|Fahrräder|Motorräder|Busse|Lastwagen|"
            "Ampeln|Tassen|Flaschen|Kaffees|Bücher|Stühle|Tische|Laptops|Handys|Fernseher|"
            "Pflanzen|Uhren|Regenschirme|Rucksäcke",
        ),
    ),
    _Tongue(
        scene=re.compile(r"看到(?:了)?什么|看见(?:了)?什么|这是什么"),
        text=re.compile(r"写(?:着|的是|了)?什么|读一下|念一下"),
        count=re.compile(
            r"(?:几|多少)(?P<noun>[个只条辆匹本把张台部盆座杯瓶]?[\u4e00-\u9fff]{1,3}?)(?:[？?。]|$)"
        ),
        see="我看到{}。",
        perhaps="可能有{}",
        nothing="我没有看到我认识的东西。",
        reads="上面写着：“{}”。",
        no_text="我没有看到能读的文字。",
        none="我没有看到。",
        no_camera="我什么也看不见，因为摄像头没有打开。",
        joints=("、", "和"),
        gap="",
        nouns=_nouns(
            "一个人|一只猫|一条狗|一只鸟|一匹马|一辆车|一辆自行车|一辆摩托车|一辆公交车|一辆卡车|"
            "一个红绿灯|一个杯子|一个瓶子|一杯咖啡|一本书|一把椅子|一张桌子|一台电脑|一部手机|一台电视|"
            "一盆植物|一个钟|一把雨伞|一个背包",
            "个人|只猫|条狗|只鸟|匹马|辆车|辆自行车|辆摩托车|辆公交车|辆卡车|个红绿灯|个杯子|个瓶子|"
            "杯咖啡|本书|把椅子|张桌子|台电脑|部手机|台电视|盆植物|个钟|把雨伞|个背包",
        ),
    ),
)
