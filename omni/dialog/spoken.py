"""Hides how written text becomes words that can be said aloud.

Laws: no digit, markdown or emoji is left; what has been made speakable stays as it is. Acronyms
and single letters are left to the voice's own dictionary, which spells them.
"""

import re
import unicodedata

from omni.dialog.spoken_numbers import in_words

ABBREVIATIONS = {
    "Dr.": "Doctor",
    "Mr.": "Mister",
    "Mrs.": "Missus",
    "Ms.": "Miz",
    "Prof.": "Professor",
    "St.": "Saint",
    "Jr.": "Junior",
    "Sr.": "Senior",
    "vs.": "versus",
    "etc.": "et cetera",
    "e.g.": "for example",
    "i.e.": "that is",
    "approx.": "approximately",
    "Inc.": "Incorporated",
    "Ltd.": "Limited",
    "a.k.a.": "also known as",
    "w/": "with",
    "w/o": "without",
}
SYMBOLS = {
    "en": {
        "&": "and",
        "+": "plus",
        "=": "equals",
        "@": "at",
        "%": "percent",
        "×": "times",
        "÷": "divided by",
        "≈": "about",
        "≤": "at most",
        "≥": "at least",
        "≠": "is not",
        "<": "less than",
        ">": "greater than",
        "°": "degrees",
        "→": "to",
        "/": "slash",
        "#": "number",
        "$": "dollars",
        "€": "euros",
        "£": "pounds",
        "¥": "yen",
        "₹": "rupees",
        "±": "plus or minus",
        "√": "square root of",
        "π": "pi",
        "µ": "micro",
    },
    "es": {
        "&": "y",
        "+": "más",
        "=": "igual a",
        "@": "arroba",
        "%": "por ciento",
        "/": "barra",
        "°": "grados",
        "$": "dólares",
        "€": "euros",
        "£": "libras",
    },
    "fr": {
        "&": "et",
        "+": "plus",
        "=": "égale",
        "@": "arobase",
        "%": "pour cent",
        "/": "barre",
        "°": "degrés",
        "$": "dollars",
        "€": "euros",
        "£": "livres",
    },
    "it": {
        "&": "e",
        "+": "più",
        "=": "uguale",
        "@": "chiocciola",
        "%": "per cento",
        "/": "barra",
        "°": "gradi",
        "$": "dollari",
        "€": "euro",
        "£": "sterline",
    },
    "pt": {
        "&": "e",
        "+": "mais",
        "=": "igual a",
        "@": "arroba",
        "%": "por cento",
        "/": "barra",
        "°": "graus",
        "$": "dólares",
        "€": "euros",
        "£": "libras",
    },
}
DOT = {"en": "dot", "es": "punto", "fr": "point", "it": "punto", "pt": "ponto"}
KEPT = frozenset(".,;:!?…—–-'’\"“”‘()¿¡")

_FENCE = re.compile(r"(?ms)^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)|```.*?(?:```|\Z)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s\"[^\"]*\")?\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_RULE = re.compile(r"(?m)^[ \t]*(?:[-*_=][ \t]*){3,}$")
_TABLE_RULE = re.compile(
    r"(?m)^[ \t]*\|?[ \t]*:?-{3,}:?[ \t]*(?:\|[ \t]*:?-{3,}:?[ \t]*)*\|?[ \t]*$"
)
_ROW = re.compile(r"(?m)^[ \t]*\|(.*?)\|?[ \t]*$")
_LEADER = re.compile(r"(?m)^[ \t]*(?:>[ \t]*)*(?:#{1,6}[ \t]+|[-*+•][ \t]+(?:\[[ xX]\][ \t]*)?)?")
_NUMBERED = re.compile(r"(?m)^[ \t]*(\d{1,3})[.)][ \t]+(?=\S)")
_EMPHASIS = re.compile(r"(\*{1,3}|~~|`+)(?=\S)(.+?)(?<=\S)\1")
_UNDERLINED = re.compile(r"(?<!\w)(_{1,2})(?=\S)([^_]+?)(?<=\S)\1(?!\w)")
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_URL = re.compile(r"(?:https?://|www\.)([\w.-]+\w)(?::\d+)?(/[^\s<>()\"]*[\w/])?", re.ASCII)
_DOMAIN = re.compile(r"\b(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io|ai|dev|co|eu|de|fr|es|it|uk)\b")
_ABBREVIATION = re.compile(
    r"(?<![\w.])("
    + "|".join(sorted(map(re.escape, ABBREVIATIONS), key=len, reverse=True))
    + r")(?![\w/])(\s*\Z|(?=\s+[A-Z]))?"
)


def spoken(text: str, language: str) -> str:
    """Plain words for `text`, on one line; empty where nothing of it can be said.

    Args:
        language: ISO 639-1; digits and signs are read in en, es, fr, it or pt, else in English.
    """
    code = language if language in SYMBOLS else "en"
    read = _read(_composed(text), code)
    # Dropping a sign can bring letters together that read otherwise ("0Dr." → "zero Dr.").
    while (again := _read(read, code)) != read:
        read = again
    return read


def word_ends(text: str, language: str) -> tuple[int, ...]:
    """For each written word of `text`, how many spoken words have been said at its end.

    "It costs $5.20" gives 1, 2, 7. Never falls; the last is the number of words of `spoken(text)`.
    """
    total = len(spoken(text, language).split())
    counts, most = [], 0
    for written in re.finditer(r"\S+", text):
        most = min(total, max(most, len(spoken(text[: written.end()], language).split())))
        counts.append(most)
    return (*counts[:-1], total) if counts else ()


def _read(text: str, language: str) -> str:
    text = _unmarked(text)
    text = _URL.sub(lambda m: _address(m[1].removeprefix("www."), language), text)
    text = _EMAIL.sub(lambda m: _address(m[0], language), text)
    text = _DOMAIN.sub(lambda m: _address(m[0], language), text)
    if language == "en":
        text = _english(text)
    return _swept(in_words(text, language), language)


def _composed(text: str) -> str:
    """One form for each sign: keycaps gone, fractions and powers as they are typed."""
    text = re.sub("[0-9#*]\ufe0f?\u20e3", " ", text)
    text = re.sub("(?<=[0-9])(?=[¼-¾⅐-⅞])", " and ", text)
    text = text.replace("²", "^2").replace("³", "^3")
    return unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("...", "…")


def _unmarked(text: str) -> str:
    """The words of a markdown text, without its marks; blocks of code are not for saying."""
    text = _FENCE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _TABLE_RULE.sub("", _RULE.sub("", _TAG.sub(" ", text)))
    text = _ROW.sub(
        lambda m: ", ".join(c.strip() for c in m[1].split("|") if c.strip()) + ".", text
    )
    text = _NUMBERED.sub(r"\1, ", _LEADER.sub("", text))
    for _ in range(3):  # bold holds italic holds code
        text = _UNDERLINED.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    return re.sub(r"(?<=[^\s.,;:!?…])[ \t]*\n+\s*(?=\S)", ". ", text)


def _address(address: str, language: str) -> str:
    """bob.smith@example.com → bob dot smith at example dot com."""
    signs = {
        ".": DOT[language],
        "@": SYMBOLS[language]["@"],
        "-": "dash",
        "_": "underscore",
        "+": SYMBOLS[language]["+"],
    }
    return " ".join(signs.get(part, part) for part in re.findall(r"[^\W_]+|[.@_+-]", address))


def _english(text: str) -> str:
    def expand(match: re.Match[str]) -> str:
        ends = match[1] == "etc." and match[2] is not None
        return ABBREVIATIONS[match[1]] + ("." if ends else "") + (match[2] or "")

    text = re.sub(r"(?<=[a-z]\s)St\.(?!\s+[A-Z])|(?<=[a-z]\s)St\.(?=\s*\Z)", "Street", text)
    text = re.sub(r"\b([CF])#(?!\w)", r"\1 sharp", text.replace("24/7", "twenty-four seven"))
    text = re.sub(r"\b[Nn]os?\.\s?(?=\d)", "number ", _ABBREVIATION.sub(expand, text))
    text = re.sub(r"(?<=\d)\s?[*x×]\s?(?=\d)", " times ", text)
    text = re.sub(r"(?<=\d)\s[-−]\s(?=\d)", " minus ", text)
    text = re.sub(r"\^2\b", " squared", re.sub(r"\^3\b", " cubed", text))
    return re.sub(r"~\s?(?=\d)", "about ", text.replace("and/or", "and or"))


def _swept(text: str, language: str) -> str:
    """Signs as words; anything that is neither a letter nor punctuation of speech is dropped."""
    signs = SYMBOLS[language]
    out = []
    for c in text:
        if c in signs:
            out.append(f" {signs[c]} ")
        elif c.isdigit() or unicodedata.category(c)[0] == "N":
            out.append(" ")
        else:
            out.append(c if c in KEPT or c.isalpha() or unicodedata.combining(c) else " ")
    line = re.sub(r"\s+([.,;:!?…)])", r"\1", " ".join("".join(out).split()))
    line = re.sub(r"\(\s*\)|\"\s*\"", "", line)
    line = re.sub(r"([,;:.])(?:\s*[,;:.])+", r"\1", line).lstrip(".,;:!?…) ")
    return " ".join(line.split()) if any(c.isalpha() for c in line) else ""
