"""The `providers` section of a recipe: archives behind STAC, and Earth Engine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from schemas.earthengine import EarthEngineProvider
from schemas.primitives import Address, beside, http_address
from schemas.strict import Strict


def _without_secret(url: str) -> str:
    if "@" in url.split("?", maxsplit=1)[0] or "?" in url:
        raise ValueError(
            "a provider's url must not contain a user, password or query: credentials come from the environment"
        )
    return url


Dialect = Literal[
    "generic", "earth-search", "planetary-computer", "dlr-eoc", "copernicus-data-space", "usgs", "earthdata"
]
"""Whose conventions an archive follows; docs/providers.md lists the rules that depend on it."""


HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,253}$")]
"""Name or number of a host, or name of a bucket."""


class Signing(Strict):
    """Another place that gives credentials than the dialect's own: a private copy of a service, or one on loopback."""

    url: Address = Field(
        description="token service, or endpoint of an S3 store; may begin with an environment variable "
        "$LANDWEAVE_...; another host "
        "than the login's own must be allowed by the user who runs the recipe (--allow-host)"
    )
    hosts: tuple[HostName, ...] = Field(
        default=(),
        max_length=16,
        description="hosts (of an S3 store: buckets) whose objects need it; the dialect's default if absent; the "
        "generic dialect has no default",
    )
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,32}$", description="region of an S3 store")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return _without_secret(value)


class Provider(Strict):
    """An archive behind a STAC API, or a static STAC catalogue."""

    kind: Literal["stac"] = "stac"
    url: str = Field(
        min_length=1,
        max_length=2048,
        description="root of a STAC API; or address of a static catalogue's catalog.json or collection.json, or of a "
        "stac-geoparquet file (.parquet); may begin with an environment variable, $LANDWEAVE_...; or, for images of "
        "your own, path of their catalogue (.parquet, .json) relative to the recipe: `python -m pipelines catalogue`",
    )
    dialect: Dialect = Field(
        default="generic", description="archive whose conventions the items follow: asset keys, offset flags, signing"
    )
    alternate: str | None = Field(
        default=None,
        max_length=64,
        description="read the assets' alternate address of this name ('s3', 'https') instead of their href, if they "
        "have one; the dialect's default if absent",
    )
    signing: Signing | None = Field(default=None, description="source of the credentials, if not the dialect's default")
    concurrency: int = Field(default=8, ge=1, le=256, description="concurrent requests, over all workers")
    requests_per_s: float | None = Field(
        default=None, gt=0, description="requests started per second, over all workers; not limited if absent"
    )
    retries: int = Field(default=5, ge=0, le=20, description="attempts after the first, for temporary errors")
    timeout_s: float = Field(default=60.0, gt=0, description="deadline of one request, seconds")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return _without_secret(http_address(value)) if "://" in value or value.startswith("$") else beside(value)

    @property
    def is_beside(self) -> bool:
        """Whether it is a catalogue beside the recipe: its url is a relative path."""
        return "://" not in self.url and not self.url.startswith("$")

    @model_validator(mode="after")
    def _own(self) -> Self:
        if self.is_beside and (self.signing is not None or self.dialect != "generic" or self.alternate is not None):
            raise ValueError(
                f"url {self.url!r} is a catalogue beside the recipe; remove `signing`, `dialect` and `alternate`, "
                "which are for archives of others"
            )
        return self


def _kind_of(provider: object) -> str:
    """Class of a provider's entry: STAC if it states no kind."""
    found = provider.get("kind", "stac") if isinstance(provider, dict) else getattr(provider, "kind", "stac")
    return str(found)


AnyProvider = Provider | EarthEngineProvider
"""An archive of images."""
ProviderEntry = Annotated[
    Annotated[Provider, Tag("stac")] | Annotated[EarthEngineProvider, Tag("earthengine")], Discriminator(_kind_of)
]
