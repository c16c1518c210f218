"""Prompts by version: instructions for a model, with the facts as data. The texts are in `prompt_files/`, each a file
NAME-VERSION.txt; a recipe may name a file of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landweave.facts import REGIONS
from schemas.canonical import canonical_json
from schemas.caption import facts_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.subject import Picture
    from schemas.caption import Facts

PROMPT_VERSION = "facts-2"
"""The prompt of captions where a recipe names no other. A word of a prompt is changed in a new file with another
version: its name is part of every cache key and of every caption's provenance."""
FOLDER = Path(__file__).with_name("prompt_files")
"""The shipped prompts. Rules after ChatEarthNet's prompt (zhu-xlab/ChatEarthNet) with its defects mended: regions
without classes are not in the data at all."""
_RULES = "rules-2"
MOST_BYTES = 32_768
"""Largest prompt file."""


class PromptError(ValueError):
    """A prompt cannot be used; one clear line."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Instructions for a model."""

    name: str
    """'facts-2'; of a file of the user, its name without .txt."""
    text: str
    """The instructions, without the form of the answer."""

    def system(self, wanted: int = 1) -> str:
        """The system message of a question for so many wordings."""
        return f"{self.text}\n\n{_form(wanted)}"

    @property
    def sha256(self) -> str:
        """Of the text, lower-case hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def shipped() -> tuple[str, ...]:
    """Names of the prompts that come with landweave."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*-*.txt") if not p.stem.startswith("rules-")))


@lru_cache
def shipped_prompt(name: str) -> Prompt:
    """A prompt that comes with landweave.

    Raises:
        PromptError: there is none of that name and version.
    """
    if name not in shipped():
        raise PromptError(
            f"captions: there is no prompt {name!r}; there are {', '.join(shipped())}, or name a .txt file"
        )
    return prompt_of(name, (FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


def prompt_of(name: str, text: str) -> Prompt:
    """A prompt from the text of its file: `{rules}` becomes the rules that the check of captions goes by.

    Raises:
        PromptError: it is empty or too long.
    """
    if not text.strip() or len(text.encode()) > MOST_BYTES:
        raise PromptError(f"{name}: a prompt is a text of at most {MOST_BYTES >> 10} KiB, and not empty")
    rules = (FOLDER / f"{_RULES}.txt").read_text(encoding="utf-8").strip()
    return Prompt(name=name, text=text.strip().replace("{rules}", rules.replace("{regions}", ", ".join(REGIONS))))


def _form(wanted: int) -> str:
    if wanted == 1:
        return 'Answer with JSON: {"caption": "..."}.'
    return (
        f"Write {wanted} captions of the same scene that differ in their sentences and in what they choose to say. "
        'Answer with JSON: {"captions": ["...", "..."]}.'
    )


def schema(wanted: int = 1) -> dict[str, Any]:
    """JSON Schema of an answer (`response_format` of the chat completions API)."""
    text = {"type": "string"}
    key, kind = ("caption", text) if wanted == 1 else ("captions", {"type": "array", "items": text})
    return {
        "name": key,
        "strict": True,
        "schema": {"type": "object", "properties": {key: kind}, "required": [key], "additionalProperties": False},
    }


def messages(
    prompt: Prompt, facts: Facts, refused: str | None, wanted: int = 1, pictures: Sequence[Picture] = ()
) -> list[dict[str, Any]]:
    """The messages to send: the system prompt, the facts as data, pictures, and why the last answer was refused.

    Facts hold words of closed tables and numbers only, no text of a map, item or model; legends hold names of classes,
    which a user's label may have chosen. '<' is escaped in both, so that nothing in them can end the data.
    """
    told = f"<facts>{_data(facts_json(facts))}</facts>"
    if pictures:
        shown = [{"picture": n, "shows": p.title, "legend": p.legend} for n, p in enumerate(pictures, 1)]
        told += f"\nPictures of the scene, north up:\n<pictures>{_data(canonical_json(shown))}</pictures>"
    if refused is not None:
        told += f"\nYour last caption was refused: {refused}. Write another one."
    system = {"role": "system", "content": prompt.system(wanted)}
    if not pictures:
        return [system, {"role": "user", "content": told}]
    parts: list[dict[str, Any]] = [{"type": "text", "text": told}]
    parts += [{"type": "image_url", "image_url": {"url": p.url}} for p in pictures]
    return [system, {"role": "user", "content": parts}]


def _data(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e")
