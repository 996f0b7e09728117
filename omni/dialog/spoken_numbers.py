"""Hides how digits become words: cardinals, ordinals, years, decimals, money, times and dates.

The words themselves are CLDR's (package unicode-rbnf); here is only which reading a run of digits
asks for. Dates, times, money and units are read so in English; elsewhere each number is read alone.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from unicode_rbnf import FormatPurpose, RbnfEngine

LANGUAGES = frozenset({"en", "es", "fr", "it", "pt"})
MAX_CARDINAL_DIGITS = 15  # longer runs are identifiers, read digit by digit

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
CURRENCIES = {
    "$": ("dollar", "cent"),
    "€": ("euro", "cent"),
    "£": ("pound", "penny"),
    "¥": ("yen", ""),
    "₹": ("rupee", "paisa"),
}
PLURALS = {
    "penny": "pence",
    "yen": "yen",
    "paisa": "paise",
    "foot": "feet",
    "inch": "inches",
    "hertz": "hertz",
    "degree Celsius": "degrees Celsius",
    "percent": "percent",
    "degree Fahrenheit": "degrees Fahrenheit",
    "kilohertz": "kilohertz",
    "megahertz": "megahertz",
    "gigahertz": "gigahertz",
}
UNITS = {
    "%": "percent",
    "°C": "degree Celsius",
    "°F": "degree Fahrenheit",
    "°": "degree",
    "km": "kilometer",
    "m": "meter",
    "cm": "centimeter",
    "mm": "millimeter",
    "mi": "mile",
    "ft": "foot",
    "kg": "kilogram",
    "g": "gram",
    "mg": "milligram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "l": "liter",
    "L": "liter",
    "ml": "milliliter",
    "mL": "milliliter",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "kB": "kilobyte",
    "KB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "Hz": "hertz",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "W": "watt",
    "kW": "kilowatt",
    "kWh": "kilowatt hour",
    "V": "volt",
    "mph": "mile per hour",
    "km/h": "kilometer per hour",
    "m/s": "meter per second",
}
FRACTIONS = {
    ("1", "2"): "one half",
    ("1", "3"): "one third",
    ("2", "3"): "two thirds",
    ("1", "4"): "one quarter",
    ("3", "4"): "three quarters",
}

_AMOUNT = r"\d+(?:,\d{3})*(?:\.\d+)?"
_MONTH = "|".join(f"{m}|{m[:3]}\\.?" for m in MONTHS)
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_SIGN = "".join(CURRENCIES)
_SCALE = r"(?:\s?(thousand|million|billion|trillion))?\b"
_TIMES = re.compile(
    r"(?<![\w:])(\d{1,2}):([0-5]\d)(?::[0-5]\d)?(?:\s?([ap])\.?m\b\.?)?(?![\w:])", re.I
)
_HOURS = re.compile(r"(?<![\w.,])(\d{1,2})\s?([ap])\.?m\b\.?", re.I)
_MONEY = re.compile(rf"([{_SIGN}])\s?(\d+(?:,\d{{3}})*)(?:\.(\d{{1,2}})(?!\d))?{_SCALE}", re.I)
_ISO_DATE = re.compile(r"(?<![\w-])(\d{4})-(0?[1-9]|1[0-2])-(0?[1-9]|[12]\d|3[01])(?![\w-])")
_US_DATE = re.compile(r"(?<![\w/])(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/(\d{4})(?![\w/])")
_MONTH_DAY = re.compile(rf"\b({_MONTH})\s(\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:(,?\s)(\d{{4}})\b)?")
_DAY_MONTH = re.compile(
    rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?({_MONTH})(?!\w)"
    r"(?:(,?\s)(\d{4})\b)?"
)
_DECADE = re.compile(r"(?<![\w.,])'?(\d{2}|\d{4})s\b")
_YEAR = re.compile(r"(?<![\w.,$€£-])(1[1-9]\d\d|20\d\d)(?![\w%]|[.,:/-]\d)")
_UNITED = re.compile(
    rf"(?<![\w.,])(?:({_AMOUNT})\s?[-–]\s?|(?=[-−]))?([-−]?{_AMOUNT})\s?({_UNIT})(?![\w/])"
)
_ORDINAL = re.compile(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", re.I)
_FRACTION = re.compile(r"(?<![\w./])(\d+)/(\d+)(?![\w/])")
_RANGE = re.compile(r"(?<![\w.,-])(\d+(?:\.\d+)?)\s?[-–]\s?(\d+(?:\.\d+)?)(?![\w-]|\.\d)")
_PHONE = re.compile(
    r"(?<!\w)\+?\(?\d{1,4}\)?(?:[ .-]\(?\d{2,4}\)?){2,5}(?!\w)|\b\d{3}-\d{4}\b"
    r"|\+\d{7,15}\b"
)
_PLAIN = re.compile(r"(?<!\w)[-−]?\d[\d,]*(?:\.\d+)*(?:,\d+)?|\d+(?:\.\d+)*")


def in_words(text: str, language: str) -> str:
    """Every run of ASCII digits in `text` as words of `language` (English if it is not known)."""
    code = language if language in LANGUAGES else "en"
    if code == "en":
        for pattern, reading in _READINGS:
            text = pattern.sub(reading, text)
    return _PLAIN.sub(lambda match: _spaced(match, _number(match[0], code)), text)


@lru_cache(maxsize=len(LANGUAGES))
def _engine(language: str) -> RbnfEngine:
    return RbnfEngine.for_language(language)


def cardinal(digits: str, language: str = "en") -> str:
    """Words of a whole number; one with a leading zero or too long is read digit by digit."""
    if len(digits) > MAX_CARDINAL_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_engine(language).format_number(int(d)).text for d in digits)
    return _engine(language).format_number(int(digits)).text.replace("\u00ad", "")


def ordinal(digits: str) -> str:
    digits = digits.replace(",", "").lstrip("0") or "0"
    if len(digits) > MAX_CARDINAL_DIGITS:
        return cardinal(digits)
    return _engine("en").format_number(int(digits), FormatPurpose.ORDINAL).text


def year(digits: str) -> str:
    """1905 → nineteen oh-five; 2008 → two thousand eight; 2024 → twenty twenty-four."""
    century, rest = divmod(int(digits), 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(digits)
    tail = (
        "hundred"
        if rest == 0
        else f"oh {cardinal(str(rest))}"
        if rest < 10
        else cardinal(str(rest))
    )
    return f"{cardinal(str(century))} {tail}"


def _number(written: str, language: str) -> str:
    """A number with its sign, thousands and decimals; one with several points is a version."""
    minus = {"es": "menos", "fr": "moins", "it": "meno", "pt": "menos"}.get(language, "minus")
    sign = f"{minus} " if written[0] in "-−" else ""
    body = written.lstrip("-−").rstrip(",")
    comma = "," if written.endswith(",") else ""
    if language != "en" and re.fullmatch(r"\d{1,3}(\.\d{3})+(,\d+)?|\d+,\d{1,2}", body):
        body = body.replace(".", "").replace(",", ".")  # 1.234,5 as the continent writes it
    if "," in body and not re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", body):
        return sign + ", ".join(_number(part, language) for part in body.split(",") if part) + comma
    whole, *rest = body.replace(",", "").split(".")
    point = {"en": "point", "es": "coma", "fr": "virgule", "it": "virgola", "pt": "vírgula"}[
        language
    ]
    if len(rest) == 1:
        decimals = " ".join(cardinal(d, language) for d in rest[0])
        return f"{sign}{cardinal(whole, language)} {point} {decimals}{comma}"
    return sign + f" {point} ".join(cardinal(part, language) for part in (whole, *rest)) + comma


def _spaced(match: re.Match[str], words: str) -> str:
    """Words set apart from letters that touch the digits: B12, 3D."""
    text, (start, end) = match.string, match.span()
    before = " " if start and text[start - 1].isalnum() else ""
    after = " " if end < len(text) and text[end].isalnum() else ""
    return before + words + after


def _plural(unit: str, amount: str) -> str:
    if amount in ("1", "one"):
        return unit
    head, per, tail = unit.partition(" per ")
    return PLURALS.get(head, f"{head}s") + per + tail


def _time(match: re.Match[str]) -> str:
    hour, minute, half = cardinal(str(int(match[1]))), match[2], match[3]
    tail = {"00": "" if half else " o'clock"}.get(
        minute, f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
    )
    return hour + tail + (f" {half.upper()}M" if half else "")


def _money(match: re.Match[str]) -> str:
    unit, small = CURRENCIES[match[1]]
    whole, part, scale = match[2].replace(",", ""), match[3], match[4]
    if scale:
        return f"{_number(whole + ('.' + part if part else ''), 'en')} {scale} {_plural(unit, '')}"
    amount = f"{cardinal(whole)} {_plural(unit, whole)}"
    cents = str(int(part.ljust(2, "0"))) if part else "0"
    if cents == "0" or not small:
        return amount
    return f"{amount} and {cardinal(cents)} {_plural(small, cents)}"


def _month(name: str) -> str:
    return next(month for month in MONTHS if month[:3] == name[:3])


def _date(month: str, day: str, comma: str | None, digits: str | None) -> str:
    return f"{month} {ordinal(day)}" + (f"{comma}{_any_year(digits)}" if digits else "")


def _any_year(digits: str) -> str:
    return (
        year(digits)
        if (digits[0] in "12" and digits[1] != "0") or digits[:2] == "20"
        else cardinal(digits)
    )


def _decade(match: re.Match[str]) -> str:
    words = year(match[1]) if len(match[1]) == 4 else cardinal(match[1])
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _phone(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(" ".join(cardinal(d) for d in group) for group in groups)


def _united(match: re.Match[str]) -> str:
    start = f"{_number(match[1], 'en')} to " if match[1] else ""
    return f"{start}{_number(match[2], 'en')} {_plural(UNITS[match[3]], match[2])}"


def _fraction(match: re.Match[str]) -> str:
    known = FRACTIONS.get((match[1], match[2]))
    return known or f"{cardinal(match[1])} over {cardinal(match[2])}"


_READINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_TIMES, _time),
    (_HOURS, lambda m: f"{cardinal(str(int(m[1])))} {m[2].upper()}M"),
    (_MONEY, _money),
    (_ISO_DATE, lambda m: _date(MONTHS[int(m[2]) - 1], m[3], ", ", m[1])),
    (_US_DATE, lambda m: _date(MONTHS[int(m[1]) - 1], m[2], ", ", m[3])),
    (_MONTH_DAY, lambda m: _date(_month(m[1]), m[2], m[3], m[4])),
    (_DAY_MONTH, lambda m: _date(_month(m[2]), m[1], m[3], m[4])),
    (_PHONE, _phone),
    (_DECADE, _decade),
    (_UNITED, _united),
    (_ORDINAL, lambda m: ordinal(m[1])),
    (_FRACTION, _fraction),
    (_RANGE, lambda m: f"{_bare(m[1])} to {_bare(m[2])}"),
    (_YEAR, lambda m: year(m[1])),
)


def _bare(digits: str) -> str:
    return year(digits) if re.fullmatch(r"1[1-9]\d\d|20\d\d", digits) else _number(digits, "en")
