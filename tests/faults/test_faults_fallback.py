"""Providers of one product are asked in the recipe's order; pauses between tries grow and are never in step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import tenacity

from pipelines.access.archives import Archives
from pipelines.access.http.client import AccessError, Client
from pipelines.plan.blocks import Ground
from pipelines.plan.search import Answer, Question, absence, ask
from pipelines.sources import open_source
from schemas.modality import STATIC_DENSITY
from schemas.outcome import Reason
from testbed.server import Fault
from testbed.services import Services, serve_catalogue
from testbed.stac_api import Catalogue
from tests.faults.small import RECIPE, make, places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("first", "second")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    items = make(tmp_path)
    with serve_catalogue(items, {"/f/": tmp_path}, name="first", root="/first") as running:
        running.add(Catalogue(name="second", root="/second", items=items), {"/f/": tmp_path})
        yield running


def question() -> Question:
    source = open_source(next(e for e in RECIPE.sources if e.kind == "dem"))
    return Question(
        layer="dem",
        providers=NAMES,
        collection="cop-dem-glo-30",
        slots=(0,),
        period=None,
        parse=source.scene,
    )


def asked(services: Services) -> Answer:
    providers = {
        name: RECIPE.providers["p"].model_copy(update={"url": services.stac_url(name), "retries": 1}) for name in NAMES
    }
    (block,) = Ground(places()).blocks(STATIC_DENSITY, 1.0)
    with Archives(providers) as archives:
        return ask(archives, question(), block)


def test_the_first_provider_that_answers_is_the_one_that_is_planned_with(services: Services) -> None:
    found = asked(services)
    assert (found.provider, found.error) == ("first", None)
    assert {s.provider for s in found.scenes} == {"first"}
    assert not [e for e in services.log if e.path.startswith("/second")], "nobody else is asked"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["503", "reset"])
def test_the_next_stands_in_for_one_that_is_down(how: str, services: Services) -> None:
    clean = asked(services)
    services.take_down("first", how)  # type: ignore[arg-type]
    found = asked(services)
    assert (found.provider, found.error) == ("second", None)
    assert {s.provider for s in found.scenes} == {"second"}
    assert [s.item_id for s in found.scenes] == [s.item_id for s in clean.scenes]


def test_a_search_that_is_cut_in_the_middle_is_not_half_an_answer(services: Services) -> None:
    """Pages of one provider are never mixed with another's."""
    clean = asked(services)
    for catalogue in services.catalogues.values():
        catalogue.largest_page = 2
    pages: list[str] = []

    def second_page(request: object) -> Fault | None:
        path = getattr(request, "path", "")
        pages.append(path)
        return Fault(status=503) if path.startswith("/first") and len(pages) > 1 else None

    services.faults.append(second_page)
    found = asked(services)
    assert found.provider == "second"
    assert {s.provider for s in found.scenes} == {"second"}
    assert [s.item_id for s in found.scenes] == [s.item_id for s in clean.scenes]


@pytest.mark.slow
def test_all_down_is_unavailable_and_not_an_empty_archive(services: Services) -> None:
    services.take_down("*")
    found = asked(services)
    assert found.scenes == []
    told = absence(places()[0], question(), 0, found)
    assert (told.reason, told.provider) == (Reason.UNAVAILABLE, "second")


@pytest.mark.parametrize(("after", "least_s"), [(None, (0.2, 0.4, 0.8)), ("3", (3.0, 3.0, 3.0))])
def test_pauses_grow_are_jittered_and_heed_the_server(
    after: str | None, least_s: tuple[float, ...], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {} if after is None else {"Retry-After": after}
    services.faults.append(lambda _: Fault(status=503, headers=headers))
    firsts = set()
    for _ in range(5):
        pauses: list[float] = []
        monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=pauses.append))
        monkeypatch.setattr("pipelines.access.http.limits.Breaker.quiet", lambda _: 0.0)
        with pytest.raises(AccessError):
            Client(retries=3, backoff_s=0.2).get_range(f"{services.base_url}/f/dem/dem.tif", 0, 10)
        assert len(pauses) == 3
        assert all(least <= pause <= least + 0.2 for pause, least in zip(pauses, least_s, strict=True)), pauses
        firsts.add(pauses[0])
    assert len(firsts) == 5
