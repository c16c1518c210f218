"""Prices per request, gigabyte, EECU-hour, token and worker hour, from the user's YAML file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PRICES = Path(__file__).resolve().parents[2] / "deploy" / "prices.yaml"
"""List prices, each with its source; `--prices FILE` takes others."""


class PricesError(ValueError):
    """A file of prices that is not there or not one; the text says what is wrong with it."""


class Prices(BaseModel):
    """Prices in one currency."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    currency: str = Field(min_length=1)
    """Currency: 'USD'."""
    request: float = Field(ge=0.0)
    """One HTTP request to an archive."""
    gigabyte: float = Field(ge=0.0)
    """10^9 bytes read from archives."""
    eecu_hour: float = Field(ge=0.0)
    """One hour of an Earth Engine compute unit."""
    million_tokens: float = Field(ge=0.0)
    """A million tokens of the captioner's model, prompts and answers together."""
    worker_hour: float = Field(ge=0.0)
    """One worker for an hour."""


def read_prices(path: Path = PRICES) -> Prices:
    """Read a file of prices.

    Raises:
        PricesError: it is not there, is not YAML, lacks a price or has one that is no number of 0 or more.
    """
    try:
        return Prices.model_validate(YAML(typ="safe").load(path))
    except OSError:
        raise PricesError(f"--prices {path.name}: there is no such file") from None
    except YAMLError as error:
        raise PricesError(f"--prices {path.name}: is not YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise PricesError(f"--prices {path.name}: {where}: {first['msg']}; see deploy/prices.yaml") from None
