"""Neighbours agree on scenes, and no place gives more for it than the recipe allows."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.read_shard import _clearest
from pipelines.sources.sharing import cover
from schemas.scene import Candidate, Scene

NOW = datetime(2022, 6, 1, tzinfo=UTC)


def candidate(scenes: str, uncovered: float = 0.0, loss: float = 0.0) -> Candidate:
    return Candidate(scenes=tuple(scenes), datetime=NOW, rank=(uncovered, loss, 0.0))


def listed(drawn: list[tuple[str, float, float]]) -> list[Candidate]:
    by_scenes = {"".join(sorted(set(s))): candidate("".join(sorted(set(s))), u, x) for s, u, x in drawn}
    return sorted(by_scenes.values(), key=lambda c: (c.rank, c.scenes))


places = st.dictionaries(
    st.integers(0, 30),
    st.lists(
        st.tuples(
            st.text("abcdefgh", min_size=1, max_size=2),
            st.integers(0, 20).map(lambda n: n / 100),
            st.integers(0, 100).map(lambda n: n / 100),
        ),
        max_size=5,
    ).map(listed),
    max_size=12,
)
tolerances = st.sampled_from([0.0, 0.05, 0.1, 0.3, 1.0])


def scenes_of(chosen: dict[int, tuple[Candidate, ...]] | dict[int, list[Candidate]]) -> set[str]:
    return {scene for found in chosen.values() if found for scene in found[0].scenes}


@given(places, tolerances)
@settings(max_examples=100, deadline=None)
def test_never_worse_than_the_tolerance_and_never_more_scenes(
    wanted: dict[int, list[Candidate]], tolerance: float
) -> None:
    chosen = cover(wanted, tolerance)
    assert list(chosen) == list(wanted)
    assert len(scenes_of(chosen)) <= len(scenes_of(wanted))
    for key, found in chosen.items():
        assert sorted(c.scenes for c in found) == sorted(c.scenes for c in wanted[key])
        if found:
            best = wanted[key][0]
            assert found[0].rank[0] <= best.rank[0] + tolerance + 1e-6
            assert found[0].rank[1] <= best.rank[1] + tolerance + 1e-6
            others = [c for c in wanted[key] if c is not found[0]]
            assert list(found[1:]) == others


@given(places, tolerances, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_places_does_not_matter(
    wanted: dict[int, list[Candidate]], tolerance: float, random: object
) -> None:
    keys = list(wanted)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert cover({k: wanted[k] for k in keys}, tolerance) == cover(wanted, tolerance)


def test_few_places_are_covered_as_well_as_can_be() -> None:
    """Against all choices: the greedy answer is at most as good as the optimum, and here as good."""
    wanted = {
        1: [candidate("a", loss=0.10), candidate("z", loss=0.15)],
        2: [candidate("b", loss=0.10), candidate("z", loss=0.12)],
        3: [candidate("c", loss=0.10), candidate("z", loss=0.20), candidate("a", loss=0.2)],
        4: [candidate("d", loss=0.10), candidate("z", loss=0.40)],
    }
    allowed = [[c for c in listed if c.rank[1] <= 0.2] for listed in wanted.values()]
    best = min(len({s for c in choice for s in c.scenes}) for choice in itertools.product(*allowed))
    chosen = cover(wanted, 0.1)
    assert len(scenes_of(chosen)) == best == 2
    assert [found[0].scenes for found in chosen.values()] == [("z",), ("z",), ("z",), ("d",)]


def test_without_tolerance_the_best_stay_first() -> None:
    wanted = {1: [candidate("a", loss=0.1), candidate("z", loss=0.2)], 2: [candidate("z", loss=0.1)], 3: []}
    assert cover(wanted, 0.0) == {k: tuple(v) for k, v in wanted.items()}


def test_a_scene_open_already_costs_nothing() -> None:
    """A pair of granules is dearer than one, unless neighbours need both anyway."""
    wanted = {
        1: [candidate("ab")],
        2: [candidate("c", loss=0.0), candidate("ab", loss=0.05)],
    }
    assert cover(wanted, 0.1)[2][0].scenes == ("a", "b")
    assert cover(wanted, 0.01)[2][0].scenes == ("c",)


def test_static_candidates_without_a_rank_pass() -> None:
    wanted = {1: [Candidate(scenes=("x",), datetime=NOW, rank=())]}
    assert cover(wanted, 0.1) == {1: tuple(wanted[1])}


def scene(name: str) -> Scene:
    return Scene(
        item_id=name, provider="p", collection="c", modality="sentinel2", datetime=NOW, start=NOW, end=NOW, geometry={},
        acquisition=name, product=name, revision="", assets={}, radiometry={},
    )  # fmt: skip


@given(st.lists(st.floats(0, 1), max_size=6), st.sampled_from([0.0, 0.05, 0.2]))
@settings(max_examples=100, deadline=None)
def test_the_planned_scene_stays_first_while_it_is_about_as_clear(clouds: list[float], sharing: float) -> None:
    """Of each sample's own candidates, whatever its neighbours' pixels are."""
    entries = [(cloud, i, (scene(str(i)),)) for i, cloud in enumerate(clouds)]
    order = [int(scenes[0].item_id) for scenes in _clearest(entries, sharing)]
    assert sorted(order) == list(range(len(clouds)))
    if clouds:
        assert clouds[order[0]] <= min(clouds) + sharing
        assert order[0] == min(i for i, cloud in enumerate(clouds) if cloud <= min(clouds) + sharing)
