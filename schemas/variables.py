"""Environment variables that a recipe may name. Somebody else may have written it, so it may not name a secret.

In an address or a path a variable may only be the start, so its value decides the host of a request or the folder to
read, and is never sent to a host that the recipe names.
"""

from __future__ import annotations

import ipaddress
import re

OWN = "LANDWEAVE_"
"""Beginning of the names that addresses and paths of a recipe may use."""
MODEL_URL = "OPENAI_BASE_URL"
"""The one other name: the address of a language model."""
KEY_HOMES: dict[str, str] = {
    "OPENAI_API_KEY": "api.openai.com",  # https://platform.openai.com/docs/api-reference
    "ANTHROPIC_API_KEY": "api.anthropic.com",  # https://docs.anthropic.com/en/api/openai-sdk
    "DEEPSEEK_API_KEY": "api.deepseek.com",  # https://api-docs.deepseek.com
    "GEMINI_API_KEY": "generativelanguage.googleapis.com",  # https://ai.google.dev/gemini-api/docs/openai
    "GROQ_API_KEY": "api.groq.com",  # https://console.groq.com/docs/openai
    "MISTRAL_API_KEY": "api.mistral.ai",  # https://docs.mistral.ai/api
    "OPENROUTER_API_KEY": "openrouter.ai",  # https://openrouter.ai/docs
    "TOGETHER_API_KEY": "api.together.xyz",  # https://docs.together.ai/docs/openai-api-compatibility
}
"""Variable that holds a language model's key -> the host that it is for."""

_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?(\[[^\]]*\]|[^/?#:]*)")
_AWS_IPV6 = ipaddress.ip_address("fd00:ec2::254")
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html"""
_AT_THE_BEGINNING = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))(?=/|$)")


def variable_of(template: str) -> tuple[str, str] | None:
    """(variable, what follows it) of an address or a path that begins with $NAME or ${NAME}; None if none does.

    Raises:
        ValueError: a variable that a recipe may not name, or one in another place; the text says what to do.
    """
    if "$" not in template:
        return None
    found = _AT_THE_BEGINNING.match(template)
    if found is None or "$" in template[found.end() :]:
        raise ValueError(
            "an environment variable may only be the start of an address or a path, followed by '/', as in "
            f"$LANDWEAVE_ARCHIVE/stac; found {template[:80]!r}"
        )
    name = found.group(1) or found.group(2)
    if not (name.startswith(OWN) and len(name) > len(OWN)) and name != MODEL_URL:
        raise ValueError(
            f"a recipe may name environment variables that begin with {OWN} only, found {name!r}: put the address into "
            f"a variable {OWN}..., or write it into the recipe"
        )
    return name, template[found.end() :]


def checked_template(template: str) -> str:
    """The text as it is, where its variables are ones that a recipe may name, and its host is not a machine's own link.

    Raises:
        ValueError: see `variable_of`; or the address leads to the link, where clouds hand out a machine's credentials.
    """
    variable_of(template)
    match = _HOST.match(template)
    if match is not None and _is_link(match[1].strip("[]")):
        raise ValueError(
            f"a recipe may not name {match[1]}: at such addresses cloud machines get their own credentials; if an "
            f"archive is there, put its address into a variable {OWN}..."
        )
    return template


def _is_link(host: str) -> bool:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    inner = (getattr(found, "ipv4_mapped", None) or found) if found.version == 6 else found
    return bool(inner.is_link_local) or found == _AWS_IPV6


def checked_key(name: str) -> str:
    """The name of the variable that holds a language model's key, where it is one that can.

    Raises:
        ValueError: it is another one.
    """
    if name not in KEY_HOMES and not name.startswith(OWN):
        raise ValueError(
            f"{name!r} is not a variable for a language model's key: use one of {', '.join(KEY_HOMES)}, or a name that "
            f"begins with {OWN}"
        )
    return name
