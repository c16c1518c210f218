"""Captions, and the facts that must support them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from schemas.canonical import canonical_json


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShare:
    """Share of one class over a region of the chip."""

    name: str
    """Class name in the common taxonomy."""
    percent: int
    """Share of labelled pixels, rounded to whole percent, 0..100."""
    pixels: int
    """Number of pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Facts from the stack only; serialises to canonical JSON, and its SHA-256 is the name."""

    label: str | None
    """Label layer that the class shares come from, or None if there is none."""
    overall: tuple[ClassShare, ...] = ()
    """Over the whole chip, largest first; classes under the minimum number of pixels are left out."""
    regions: dict[str, tuple[ClassShare, ...]] = field(default_factory=dict)
    """'top left', 'top right', 'bottom left', 'bottom right', 'middle' -> up to three classes, largest first."""
    objects: tuple[tuple[str, int], ...] = ()
    """OSM objects by kind ('road', 'building', 'river' ...) and count, most frequent first. Kinds come from a closed
    list of ours, never raw tag text."""
    road_length_m: int | None = None
    """Total length of roads, metres, rounded to 10; None = no OSM layer."""
    elevation_min_m: int | None = None
    """Lowest valid elevation, metres; None = no DEM."""
    elevation_max_m: int | None = None
    """Highest valid elevation, metres."""
    slope_mean_deg: float | None = None
    """Mean slope, degrees, one decimal."""
    relief: str | None = None
    """'flat', 'rolling', 'hilly' or 'mountainous' from elevation range and slope."""
    season: str | None = None
    """'spring', 'summer', 'autumn', 'winter' (or 'tropics') at the image's date and latitude."""
    month: int | None = None
    """Month 1..12 of the image."""
    year: int | None = None
    """Year of the image."""
    place: str | None = None
    """Coarse words for where: hemisphere and climate band ('northern mid-latitudes'), never a guessed name."""
    size_m: int = 0
    """Edge of the footprint, metres."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One checked caption."""

    text: str
    """English, one paragraph; of 'column' and 'file': as the file has it, any language, untrusted data."""
    captioner: str
    """'template' or 'llm'; 'column' or 'file' where a file gave the text."""
    model: str | None
    """Model name as the endpoint was asked for it; None for the template."""
    prompt_version: str
    """Version of the prompt or template; of a text that a file gave, which file and column."""
    facts_sha256: str
    """SHA-256 of the facts' canonical JSON; '' where the text rests on none."""
    checks: tuple[str, ...]
    """Names of the checks passed."""
    attempts: int
    """Number of requested answers, this one included."""
    fallback: bool
    """True where the model's answers were refused and the template spoke instead."""
    tokens: int
    """Tokens spent, all attempts, as the endpoint counted."""
    claims: str = ""
    """JSON list of the claims that were read from the text, each with the arrays and tables that prove it
    (`landweave.claims`); '' where the text was not read."""


def facts_json(facts: Facts) -> str:
    """Canonical JSON. The same facts give the same bytes."""
    return canonical_json(asdict(facts))
