"""stac-api-validator's own suite against `landweave serve`."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks.loading_venv import make
from tests.landweave.test_landweave_serve import data, served  # noqa: F401 - data is a fixture

if TYPE_CHECKING:
    import landweave

PACKAGES = (
    "cachebox==5.2.3",
    "deepdiff==9.1.0",
    "fastjsonschema==2.22.3",
    "more-itertools==11.2.1",
    "orderly-set==5.5.0",
    "orjson==3.13.0",
    "python-dotenv==1.2.4",
    "stac-api-validator==0.6.8",
    "stac-check==1.14.0",
    "stac-valid==4.2.2",
    "stac-validator==4.1.0",
)
CLASSES = ("core", "collections", "features", "item-search", "item-search#sort", "item-search#fields")
ELSEWHERE = re.compile("schemas.stacspec.org|stac-extensions.github.io")
"""Schemas of STAC, which the suite fetches; other tests validate with copies of them."""
ITS_OWN = (
    # it sends the name of the collection as a string, where the specification has a list; pydantic refuses it
    re.compile(r'Item Search - Sort Ext\] : POST .* "collections": "\w+"\} had unexpected status code 400'),
    # it asks that the property which it asks other questions about is gone, where it left out "geometry"
    re.compile(r"Item Search - Fields Ext\] : POST .*'exclude': \['geometry'\].* contained 'properties.split'"),
    # no fields are asked for: all are sent
    re.compile(r'Item Search - Fields Ext\] : POST .* body=\{"fields": null\} had unexpected status code 200'),
)


@pytest.mark.slow
def test_the_suite_finds_nothing(data: landweave.Dataset) -> None:  # noqa: F811 - the fixture
    python = make("stac-api-validator", PACKAGES)
    lon, lat = data.sample(0).lonlat
    around = [[lon + x, lat + y] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
    with served(data) as url:
        run = subprocess.run(
            [str(python), "-m", "stac_api_validator", "--root-url", url.rstrip("/"), "--collection", data.spec.name]
            + [word for name in CLASSES for word in ("--conformance", name)]
            + ["--fields-nested-property", "properties.split"]
            + ["--geometry", json.dumps({"type": "Polygon", "coordinates": [around]})],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    said = run.stdout + run.stderr
    assert "Validating STAC API - Item Search conformance class" in said, said
    errors = said.partition("\nErrors:")[2].partition("\nWarnings:")[0]
    found = [line for line in errors.splitlines() if line.startswith("- [") and not ELSEWHERE.search(line)]
    assert [line for line in found if not any(own.search(line) for own in ITS_OWN)] == []
