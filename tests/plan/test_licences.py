"""A recipe's licence is held against those of its layers."""

from __future__ import annotations

import pytest

from landweave.licences import conflicts
from pipelines.plan.licences import contradictions
from schemas.modality import COPERNICUS_LICENCE, MODALITIES
from tests.shards.synthetic import recipe

SENTINEL = {"sentinel2": COPERNICUS_LICENCE}


@pytest.mark.parametrize(
    ("stated", "layers", "said"),
    [
        (
            "CC-BY-4.0",
            {"openstreetmap": "ODbL-1.0"},
            ["openstreetmap (ODbL-1.0) requires ODbL-1.0 for a database made of it"],
        ),
        ("ODbL-1.0", {"openstreetmap": "ODbL-1.0", **SENTINEL}, []),
        ("odbl-1.0", {"openstreetmap": "ODbL-1.0"}, []),
        ("CC-BY-4.0", {"worldcover": "CC-BY-4.0", **SENTINEL, "landsat": "PDDL-1.0"}, []),
        ("CC0-1.0", {"worldcover": "CC-BY-4.0", "hls": "CC0-1.0"}, ["worldcover (CC-BY-4.0) requires attribution"]),
        ("CC0-1.0", SENTINEL, ["requires attribution"]),
        (
            "CC-BY-4.0",
            {"openstreetmap": "ODbL-1.0", "mine": "ODbL-1.0"},
            ["openstreetmap, mine (ODbL-1.0) require ODbL-1.0 for a database made of them"],
        ),
        ("CC-BY-4.0", {"enmap": "proprietary"}, ["enmap (proprietary) has its own terms, which grant less: read its"]),
        ("CC-BY-4.0", {"mine": "CC-BY-NC-4.0"}, ["may not be used commercially"]),
        ("CC-BY-NC-4.0", {"mine": "CC-BY-NC-4.0"}, []),
        ("CC-BY-4.0", {"mine": "CC-BY-SA-4.0"}, ["requires CC-BY-SA-4.0 for works made of it"]),
        ("CC-BY-NC-SA-4.0", {"mine": "CC-BY-ND-4.0"}, ["may not be shared with changes"]),
        (
            "CC-BY-4.0",
            {"enmap": "proprietary", "dem": "proprietary"},
            ["enmap, dem (proprietary) have"],
        ),
        ("proprietary", {"openstreetmap": "ODbL-1.0", "enmap": "proprietary"}, []),
    ],
)
def test_what_the_inputs_do_not_allow_is_said(stated: str, layers: dict[str, str], said: list[str]) -> None:
    found = conflicts(stated, layers)
    assert len(found) == len(said), found
    assert all(words in line and stated in line for words, line in zip(said, found, strict=True))


def test_a_recipes_layers_are_all_looked_at() -> None:
    told = "\n".join(contradictions(recipe()))
    assert "openstreetmap (ODbL-1.0)" in told
    assert "enmap, dem (proprietary)" in told
    assert MODALITIES["sentinel2"].licence == COPERNICUS_LICENCE
