"""The views of docs/views.md, run over a built dataset and compared with plain numpy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import landweave
from tests.flow.job import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]


def views(dataset: landweave.Dataset) -> dict[str, Any]:
    """What the page's code leaves behind."""
    page = (CHECKOUT / "docs" / "views.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 7
    found: dict[str, Any] = {"data": dataset}
    code = "\n".join(blocks).replace('"data/quickstart"', repr(dataset.store.url))
    exec(code, found)  # noqa: S102 - the page's own code
    return found


def test_the_page_of_views_does_what_it_says(clean: Path) -> None:
    found = views(landweave.open(clean))
    image = found["sample"].physical("sentinel2/bands_10m")[0]
    assert np.array_equal(found["pyramid"][1], image, equal_nan=True)
    np.testing.assert_allclose(found["pyramid"][4][:, 0, 0], image[:, :4, :4].mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["wavelengths"][:4], [0.49, 0.56, 0.665, 0.842], atol=0.01)
    assert found["metres"].tolist() == [10.0] * 4 + [20.0] * 6
    observed = np.isfinite(found["sample"].physical("sentinel2/bands_10m")).all(axis=1, keepdims=True)
    assert abs(found["kept"][observed].mean() - 0.7) < 0.05
    assert not found["masked"][np.broadcast_to(~found["kept"], found["masked"].shape)].any()
    pair = found["pair"]
    first, second = pair.physical("sentinel2/bands_10m")
    assert np.array_equal(found["change"][:, found["valid"]], (second - first)[:, found["valid"]])
    assert found["days_apart"] > 200
    assert {layer for layer, _, text in found["drawn"] if text} == {"sentinel1", "sentinel2"}
    assert found["stack"].shape[0] == 32
    assert found["mask"].sum() == 2
    assert found["days"][1] - found["days"][0] == found["days_apart"]
