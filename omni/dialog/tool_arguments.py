"""Puts right what a small model gets wrong in a call's arguments, where it is sure what was meant.

Law: what leaves here was checked against the schema; a guess is never made between two readings.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import json_repair
from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry

_NULLS: Final = ("", "null", "none")
_BOOLEANS: Final = {"true": True, "yes": True, "false": False, "no": False}


def _unchecked(*_: object) -> None:
    """Accepts anything."""


# A client's pattern could take for ever to match.
_Validator: Final = validators.extend(
    Draft202012Validator, {"pattern": _unchecked, "patternProperties": _unchecked}
)


def parse_object(text: str) -> dict[str, Any] | None:
    """A JSON object, its syntax repaired if need be; None if there is none in the text."""
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        try:
            found = json_repair.loads(text, skip_json_loads=True)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


@lru_cache(maxsize=512)
def check_schema(text: str) -> str | None:
    """What is wrong with a JSON schema, if anything. It takes milliseconds, so it is remembered."""
    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
        complaint({}, schema)
    except Exception as error:  # the library's own errors, and whatever deep nesting raises
        return str(getattr(error, "message", type(error).__name__))[:200]
    return None


def complaint(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """What the schema has against the arguments; nothing is ever fetched for it."""
    validator = _Validator(schema, registry=Registry())
    error: ValidationError | None = next(iter(validator.iter_errors(arguments)), None)
    if error is None:
        return None
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where}: {error.message}"[:300] if where else error.message[:300]


def fit(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with keys and types as the schema has them, where that is sure."""
    known: Mapping[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or ()
    fitted: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in arguments.items():
        key = _known_name(name, known)
        if key is None or key in fitted:
            unknown[name] = value
        elif not _is_left_out(value, key in required, known[key]):
            fitted[key] = _fit_value(value, known[key])
    missing = [name for name in required if name not in fitted and name in known]
    for name in [name for name in missing if "default" in known[name]]:
        fitted[name] = known[name]["default"]
        missing.remove(name)
    if len(missing) == len(unknown) == 1:  # called by another name
        value = _fit_value(next(iter(unknown.values())), known[missing[0]])
        if complaint({"value": value}, {"properties": {"value": known[missing[0]]}}) is None:
            fitted[missing[0]] = value
            unknown = {}
    takes_more = not known or schema.get("additionalProperties") not in (None, False)
    return {**fitted, **unknown} if takes_more else fitted


def _known_name(name: str, known: Mapping[str, Any]) -> str | None:
    if name in known:
        return name
    alike = [key for key in known if plain_name(key) == plain_name(name)]
    return alike[0] if len(alike) == 1 else None


def plain_name(name: str) -> str:
    """A name without case and signs: `Get-Weather` and `get_weather` are one."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _is_left_out(value: Any, is_required: bool, schema: Any) -> bool:
    is_null = value is None or (isinstance(value, str) and value.casefold() in _NULLS)
    if not is_null or is_required or not isinstance(schema, dict):
        return False
    return complaint({"value": value}, {"properties": {"value": schema}}) is not None


def _fit_value(value: Any, schema: Any) -> Any:
    if not isinstance(schema, dict):
        return value
    if isinstance(value, str) and "enum" in schema:
        alike = [one for one in schema["enum"] if isinstance(one, str) and _same(one, value)]
        return alike[0] if len(alike) == 1 and value not in schema["enum"] else value
    named = schema.get("type")
    types = named if isinstance(named, list) else [named] if named else []
    if not types:
        return value
    if isinstance(value, str) and "string" not in types:
        value = _read(value, types)
    if isinstance(value, dict) and "object" in types:
        return fit(value, schema)
    if isinstance(value, list):
        if "array" in types:
            return [_fit_value(one, schema.get("items")) for one in value]
        return _fit_value(value[0], schema) if len(value) == 1 else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = _fit_number(value, types)
    if types == ["array"] and not isinstance(value, list | dict) and value is not None:
        return [_fit_value(value, schema.get("items"))]
    return value


def _same(one: str, other: str) -> bool:
    return plain_name(one) == plain_name(other)


def _read(text: str, types: list[str]) -> Any:
    """What a string stands for where none was wanted; itself if that is not sure."""
    bare = text.strip()
    if {"integer", "number"} & set(types) and re.fullmatch(r"[+-]?\d{1,15}", bare):
        return int(bare)
    if "number" in types and re.fullmatch(r"[+-]?\d{1,15}\.\d{1,15}", bare):
        return float(bare)
    if "boolean" in types and bare.casefold() in _BOOLEANS:
        return _BOOLEANS[bare.casefold()]
    if {"object", "array"} & set(types) and bare[:1] in "{[":
        try:
            return json.loads(bare)
        except (ValueError, RecursionError):
            return text
    return text


def _fit_number(value: float, types: list[str]) -> Any:
    if "integer" in types and isinstance(value, float) and value.is_integer():
        return int(value)
    if types == ["string"]:
        return str(int(value)) if float(value).is_integer() else str(value)
    return value
