"""Identity of a recipe: the hash of the fields that it sets to other values than the defaults."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from schemas.canonical import canonical_json

if TYPE_CHECKING:
    from pydantic import BaseModel

ABSENT = object()
"""Stands for a key that is not there."""
TAG = "kind"
"""The field that selects one of several sections; always part of the hash."""


def sha256_of(model: BaseModel) -> str:
    """Hash of what a model states, lower-case hex: its fields that differ from their defaults, and their tags.

    A field that a later version adds, with a default, leaves the hash of every recipe that does not use it as it was.
    The price: a default may never change (a test pins them all); what should be otherwise is a new field.
    """
    return hashlib.sha256(canonical_json(stated(model)).encode()).hexdigest()


def differences(one: BaseModel, two: BaseModel) -> list[tuple[str, Any, Any]]:
    """(dotted key, value in one, value in two) of every key that differs, as `--set` names keys; absent = ABSENT."""
    left, right = _flat(one.model_dump(mode="json")), _flat(two.model_dump(mode="json"))
    keys = [*left, *(key for key in right if key not in left)]
    pairs = [(key, left.get(key, ABSENT), right.get(key, ABSENT)) for key in keys]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested JSON -> dotted key -> scalar (or empty list or mapping)."""
    if not isinstance(value, dict | list) or not value:
        return {key: value}
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, Any] = {}
    for name, content in inner:
        found |= _flat(content, f"{key}.{name}" if key else str(name))
    return found


def stated(model: BaseModel) -> dict[str, Any]:
    """A model as JSON without the fields that equal their defaults, at every depth."""
    written = model.model_dump(mode="json")
    found = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        required = field.is_required()
        if required or name == TAG or value != field.get_default(call_default_factory=True, validated_data={}):
            key = field.serialization_alias or name  # `from` is no name of a field in Python
            found[key] = _plain(value, written[key])
    return found


def _plain(value: Any, written: Any) -> Any:
    """A value as JSON, models inside it without their defaults."""
    if hasattr(type(value), "model_fields"):
        return stated(value)
    if isinstance(value, dict):
        return {key: _plain(value[key], written[str(key)]) for key in value}
    if isinstance(value, list | tuple):
        return [_plain(*pair) for pair in zip(value, written, strict=True)]
    return written
