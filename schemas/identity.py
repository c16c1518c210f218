"""What makes two recipes the same: what they say, and not what they leave to defaults."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

TAG = "kind"
"""The field that says which of several sections stands here: always part of what is said."""


def sha256_of(model: BaseModel) -> str:
    """Hash of what a model states, lower-case hex: its fields that differ from their defaults, and their tags.

    A field that a later version adds, with a default, leaves the hash of every recipe that does not use it as it was.
    The price: a default may never change (a test pins them all); what should be otherwise is a new field.
    """
    text = json.dumps(stated(model), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def stated(model: BaseModel) -> dict[str, Any]:
    """A model as JSON without the fields that equal their defaults, at every depth."""
    written = model.model_dump(mode="json")
    found = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        required = field.is_required()
        if required or name == TAG or value != field.get_default(call_default_factory=True, validated_data={}):
            found[name] = _plain(value, written[name])
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
