"""Outcome of one requested observation, with a reason code: one per sample x modality x date."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an observation is there or is not. Codes are part of the dataset's format: add, never rename."""

    OK = "ok"
    """Obtained."""
    NO_SCENE = "no_scene"
    """The archive answered and holds no scene for this place, time and filter."""
    TOO_CLOUDY = "too_cloudy"
    """Every candidate had more cloud over the chip than the recipe allows."""
    TOO_LITTLE_VALID = "too_little_valid"
    """Every candidate covered less of the chip with valid pixels than the recipe asks."""
    BAD_ITEM = "bad_item"
    """The item lacks an asset, a band or a fact that its pixels cannot be read right without."""
    NOT_FOUND = "not_found"
    """The archive says that the object does not exist (404, 410)."""
    CORRUPT = "corrupt"
    """Bytes arrived whole and are not a readable raster, or their checksum is wrong."""
    WRONG_GRID = "wrong_grid"
    """The raster's CRS, size or transform contradicts the item."""
    DENIED = "denied"
    """Credentials are missing or refused (401, 403 after one refresh)."""
    UNAVAILABLE = "unavailable"
    """The archive did not deliver within the retries and deadlines (429, 5xx, resets, timeouts)."""
    INPUT_MISSING = "input_missing"
    """A layer that this one is computed from was not obtained."""
    LABEL_MISSING = "label_missing"
    """The label product has nothing here."""
    CAPTION_REFUSED = "caption_refused"
    """No caption passed the checks against the facts."""
    SAMPLE_REFUSED = "sample_refused"
    """The sample as a whole breaks a quality rule of the recipe, so it is not in the catalogue."""

    SHARD_FAILED = "shard_failed"
    """A bug in landweave stopped the shard; `detail` names the kind of error. Another run builds it."""

    @property
    def retryable(self) -> bool:
        """True where trying again later can succeed without anything else changing."""
        return self in (Reason.UNAVAILABLE, Reason.DENIED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One row of the ledger."""

    sample_id: str
    """Sample id."""
    layer: str
    """Name of the modality, label or caption set."""
    slot: int
    """Date slot (0 for static modalities, labels and captions)."""
    reason: Reason
    """`Reason.OK` or why it is absent."""
    provider: str | None = None
    """Provider that was asked last, by its name in the recipe."""
    item_ids: tuple[str, ...] = ()
    """Items used (obtained) or tried last (absent)."""
    detail: str = ""
    """One sentence for a person: what was found, what was expected. No URL with a signature, no machine path."""
