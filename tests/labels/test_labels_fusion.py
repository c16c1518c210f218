"""Fused labels: statistics that add, votes, image, calibration, and that sharing errors is seen through."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from benchmarks.labels import auroc, dawid_skene, evidence, miou
from benchmarks.labels_goals import goals
from benchmarks.labels_worlds import PROCESSES, PUBLISHED, make, read, write
from pipelines.fusion.label import stored_doubt
from pipelines.labels.fusion.calibrate import expected_calibration_error
from pipelines.labels.fusion.doubt import SIGNS, SPREAD, USUAL, Doubt, learn_doubt, signs
from pipelines.labels.fusion.fuse import Evidence, Model, fuse, learn_all, moments
from pipelines.labels.fusion.image import ImageModel, Moments, Sureness, features
from pipelines.labels.fusion.priors import CLASSES, emission
from pipelines.labels.fusion.voters import symbols, voter
from pipelines.labels.fusion.votes import Patterns, learn


@pytest.fixture(scope="module", params=["shared", pytest.param("regional", marks=pytest.mark.slow)])
def world(request):
    return make(request.param, 3)


@pytest.fixture(scope="module")
def whole(world):
    return evidence(world)


@pytest.fixture(scope="module")
def small(whole):
    voters, samples = whole
    return voters, samples[::8]


def test_products_have_published_accuracies_and_shared_persistent_errors(world):
    maps = world.maps()
    for family, name in (("worldcover", "WC21"), ("dynamicworld", "DW1"), ("esri", "Esri")):
        right = (maps[name] == world.truth).mean()
        assert abs(right - PUBLISHED[family]) < 0.03 if family == "esri" else abs(right - PUBLISHED[family]) < 0.02
    wrong = [(maps[n] != world.truth).ravel().astype(float) for n in ("WC21", "WC20")]
    assert np.corrcoef(wrong)[0, 1] >= 0.5
    differs = (maps["WC21"] != maps["WC20"]).astype(float)
    differs -= differs.mean()
    assert (differs[:, 10:] * differs[:, :-10]).mean() / differs.var() >= 0.15
    mapped = (maps["OSM"] > 0).mean()
    assert 0.35 < mapped < 0.65
    assert (world.truth == 5)[maps["OSM"] == 5].mean() >= 0.8


@pytest.mark.slow
def test_plain_dawid_skene_loses_to_the_anchored_one(whole, world):
    voters, samples = whole
    model = learn_all(voters, samples, rounds=0)
    votes_alone = np.stack([fuse(model, s).classes for s in samples])
    plain = dawid_skene(list(world.maps().values()))
    assert miou(votes_alone, world.truth) > miou(plain, world.truth) + 1


@pytest.mark.slow
def test_fused_labels_beat_the_best_product_and_know_how_sure_they_are(whole, world):
    voters, samples = whole
    model, truth = learn_all(voters, samples), world.truth
    fused = [fuse(model, s) for s in samples]
    found = np.stack([f.classes for f in fused])
    best = max(miou(m, truth) for m in world.maps().values())
    assert miou(found, truth) > best + 5
    confidence, doubt = np.stack([f.confidence for f in fused]) / 255, np.stack([f.wrong for f in fused])
    assert auroc(1 - confidence.ravel(), (found != truth).ravel()) > 0.75
    assert auroc(doubt.ravel(), (found != truth).ravel()) > 0.85
    wrong = (found != truth).reshape(len(truth), -1).mean(axis=1)
    said = np.stack([f.wrong for f in fused]).reshape(len(truth), -1).mean(axis=1)
    assert abs(said.mean() - wrong.mean()) < 0.03, "as many wrong pixels as it says"
    assert np.abs(said - wrong).mean() < np.abs(wrong - wrong.mean()).mean(), "nearer than the true mean of all"
    assert np.corrcoef(said, wrong)[0, 1] > 0.7, "so that samples with more of them can be told"
    points = np.random.default_rng(0).choice(found.size, 500, replace=False)
    right = (found == truth).ravel()
    signs_of = np.stack([f.signs for f in fused]).reshape(-1, SIGNS)
    known = replace(model, doubt=learn_doubt(signs_of[points], ~right[points]))
    again = [fuse(known, s) for s in samples]
    assert (np.stack([f.classes for f in again]) == found).all(), "points change no class"
    assert all((f.confidence == np.rint((1 - f.wrong) * 255)).all() for f in again)
    assert expected_calibration_error(1 - np.stack([f.wrong for f in again]).ravel(), right) < 0.03


def test_statistics_add_over_shards_in_any_order_to_the_same_bytes(small):
    voters, samples = small
    parts = [Patterns.of(voters, s.votes, s.stratum) for s in samples]
    one, two = Patterns.total(parts), Patterns.total([Patterns.total(parts[5:]), Patterns.total(parts[:5][::-1])])
    assert one.keys.tobytes() == two.keys.tobytes()
    assert one.counts.tobytes() == two.counts.tobytes()
    assert one.counts.sum() == sum(s.votes[0].size for s in samples)
    model = Model(votes=learn(voters, one))
    posteriors = [model.posterior(s) for s in samples]
    sure = Sureness.total(map(Sureness.of, posteriors))
    again = Sureness.total(map(Sureness.of, posteriors[::-1]))
    assert (sure.confidence.tobytes(), sure.pixels.tobytes()) == (again.confidence.tobytes(), again.pixels.tobytes())
    sums = [moments(s, p, sure) for s, p in zip(samples, posteriors, strict=True)]
    here, there = Moments.total(sums), Moments.total([Moments.total(sums[3:][::-1]), Moments.total(sums[:3])])
    for what in ("count", "first", "second"):
        assert getattr(here, what).tobytes() == getattr(there, what).tobytes()
    label = [fuse(Model(votes=model.votes, image=ImageModel.of(m)), samples[0]) for m in (here, there)]
    assert label[0].posterior.tobytes() == label[1].posterior.tobytes()


def test_symbols_of_a_family():
    def row(*numbers):
        return np.array([numbers], np.uint8)

    one, two = voter("esri", 1), voter("worldcover", 2)
    assert symbols(one, [row(0, 2)]).tolist() == [[0, 2]]
    found = symbols(two, [row(2, 2, 2, 0, 0), row(2, 4, 0, 4, 0)])
    assert found.tolist() == [[2 + CLASSES, 2 + 2 * CLASSES, 2, 4, 0]]
    assert two.means[found].tolist() == [[2, 2, 2, 4, 0]]
    three = voter("dynamicworld", 3, probabilities=True)
    maps, sure = [row(2, 2, 1), row(4, 2, 1), row(4, 5, 0)], [np.full((1, 3), p, float) for p in (0.9, 0.4, 0.8)]
    found = symbols(three, maps, sure)
    assert three.means[found].tolist() == [[4, 2, 1]]
    assert found.tolist() == [[4 + CLASSES * (3 + 1), 2 + CLASSES * (3 + 1), 1 + CLASSES * (3 + 1)]]
    with pytest.raises(ValueError, match="esri: code 12 has no place"):
        symbols(one, [row(12)])


def test_one_family_alone_is_no_fusion():
    forms = [voter("esri", 1), voter("worldcover", 1)]
    votes = np.stack([np.full((4, 4), 3, np.uint16), np.zeros((4, 4), np.uint16)])
    with pytest.raises(ValueError, match="only esri does: add another product"):
        learn(forms, Patterns.of(forms, votes))
    with pytest.raises(ValueError, match="none does"):
        learn(forms, Patterns.of(forms, votes * 0))


def test_a_class_that_no_voter_names_gets_no_pixel_and_no_vote_gets_no_class():
    forms = [voter("esri", 1), voter("worldcover", 1)]
    votes = np.tile(np.array([[0, 1, 2, 4]], np.uint16), (2, 4, 1))
    model = Model(votes=learn(forms, Patterns.of(forms, votes)))
    found = fuse(model, Evidence(votes=votes))
    assert found.classes.tolist() == [[0, 1, 2, 4]] * 4
    assert found.votes.tolist() == [[0, 2, 2, 2]] * 4
    assert (found.confidence[:, 0] == 0).all()
    assert (found.posterior[..., 8] == 0).all()


def test_abstaining_leaves_out_what_is_not_sure():
    forms = [voter("esri", 1), voter("worldcover", 1)]
    rng = np.random.default_rng(0)
    votes = rng.integers(1, 4, (2, 40, 40)).astype(np.uint16)
    model = Model(votes=learn(forms, Patterns.of(forms, votes)))
    everything, some = fuse(model, Evidence(votes=votes)), fuse(model, Evidence(votes=votes), abstain_below=0.6)
    kept = everything.posterior.max(axis=-1) >= 0.6
    assert 0 < kept.mean() < 1
    assert ((some.classes > 0) == kept).all()


@pytest.mark.parametrize("family", ["worldcover", "openstreetmap", "somebody"])
def test_a_prior_is_a_distribution_without_no_vote(family):
    table = emission(family, voter(family, 2).means)
    assert np.allclose(table.sum(axis=1), 1)
    assert (table[:, 0] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 9), st.floats(0, 0.9))
def test_signs_are_what_the_pixel_and_its_neighbours_say(seed, height, width, empty):
    rng = np.random.default_rng(seed)
    posterior = rng.dirichlet(np.full(CLASSES - 1, 0.3), (height, width))
    posterior = np.concatenate([np.zeros((height, width, 1)), posterior], axis=-1)
    posterior[rng.random((height, width)) < empty] = 0
    found = 1 / (1 + np.exp(-signs(posterior)))
    wide = np.pad(posterior, ((1, 1), (1, 1), (0, 0)), mode="edge")
    for y, x in np.ndindex(height, width):
        around = [p for p in wide[y : y + 3, x : x + 3].reshape(-1, CLASSES) if p.max() > 0]
        if not posterior[y, x].any():
            continue
        code = posterior[y, x].argmax()
        expected = [
            1 - posterior[y, x].max(),
            1 - np.mean([p[code] for p in around]),
            np.mean([1 - p.max() for p in around]),
        ]
        assert np.allclose(found[y, x], np.clip(expected, 1e-4, 1 - 1e-4), atol=1e-9)
        window = wide[y : y + 3, x : x + 3]
        assert signs(window)[1, 1].tobytes() == signs(posterior)[y, x].tobytes(), "a window says the same"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(0, 1))
def test_weights_of_the_doubt_are_the_most_probable_ones(seed, count, share):
    rng = np.random.default_rng(seed)
    found, wrong = rng.normal(-3, 1.5, (count, SIGNS)), rng.random(count) < share

    def loss(weights):
        logit = weights[0] + found @ weights[1:]
        return np.logaddexp(0, np.where(wrong, -logit, logit)).sum() + (((weights - USUAL) / SPREAD) ** 2).sum() / 2

    learnt = learn_doubt(found, wrong).weights
    assert np.abs(learnt - minimize(loss, USUAL, tol=1e-10).x).max() < 1e-3
    assert np.allclose(learn_doubt(found[:0], wrong[:0]).weights, USUAL), "none leave the usual ones"


def test_doubt_learns_weights_that_many_points_show():
    rng = np.random.default_rng(3)
    found, true = rng.normal(-2, 2, (20_000, SIGNS)), np.array([0.5, 0.4, 0.1, 0.6])
    wrong = rng.random(len(found)) < Doubt(weights=true)(found)
    assert np.abs(learn_doubt(found, wrong).weights - true).max() < 0.06


def test_features_are_whole_numbers_and_holes_take_their_neighbours():
    bands = np.full((2, 9, 9), 1234.0)
    bands[:, 4, 4] = np.nan
    found = features(bands)
    assert found.shape == (9, 9, 6)
    assert (found[..., :4] == 1234).all()
    assert (found[..., 4:] == 0).all()


@pytest.mark.slow
def test_a_world_goes_through_its_file(whole, world, tmp_path):
    write(world, tmp_path / "w.npz")
    back = read(tmp_path / "w.npz")
    assert list(back.maps()) == list(world.maps())
    assert all((back.maps()[n] == m).all() for n, m in world.maps().items())
    assert (back.image == world.image).all()
    assert evidence(back)[1][5].votes.tobytes() == whole[1][5].votes.tobytes()


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({}, "needs an array 'truth'"),
        ({"truth": np.ones((1, 4, 4), int), "product/a/a": np.ones((1, 4, 4), int)}, "at least two families"),
        ({"truth": np.ones((1, 4, 4), int), "product/a/a": np.ones((1, 4, 5), int)}, "shape"),
        ({"truth": np.ones((1, 4, 4), int), "extra": np.ones(1)}, "array 'extra' is not known"),
        (
            {"truth": np.ones((1, 4, 4), int), **{f"product/{f}": np.full((1, 4, 4), 77) for f in "ab"}},
            "a has code 77, but a ends at 10",
        ),
    ],
)
def test_a_bad_world_is_one_line(arrays, text, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=text) as found:
        read(tmp_path / "bad.npz")
    assert str(found.value).startswith("bad.npz: ")
    assert "\n" not in str(found.value)


def test_pixels_that_are_all_but_sure_are_stored_as_values():
    """0 is the layer's nodata: where there is a class, even the least probability of an error is another number."""
    posterior = np.zeros((3, 3, CLASSES))
    posterior[..., 2] = 1.0
    wrong = Doubt()(signs(posterior))
    assert (wrong > 0).all()
    assert (wrong < 0.5 / 255).all(), "below half a step"
    there = np.ones((3, 3), bool)
    there[0] = False
    found = stored_doubt(wrong, there)
    assert ((found > 0) == there).all()
    assert stored_doubt(np.array([0.5, 1.0]), np.array([True, True])).tolist() == [128, 255]


def test_goals_are_met_missed_or_unjudged():
    row = {"world": "w", "independent": False, "kind": "single", "miou": 50.0}
    ours = {
        "kind": "ours",
        "method": "ours",
        "miou": 54.0,
        "ece_worst": 0.01,
        "points": 9,
        "auroc": 0.9,
        "auroc_fused": 0.84,
        "auroc_fused_calibrated": 0.86,
        "ms_per_sample": 5,
    }
    found = goals([row | {"method": "a", "best": True}, row | ours], {"Snorkel": "not installed"})
    assert [line for line in found["missed"] if "best single product (a): 4" in line]
    assert any(line.startswith("w: ECE after 9 points") for line in found["met"])
    assert any("own wrong pixels, no points: 0.84" in line for line in found["missed"])
    beside = {"kind": "beside", "method": "U-Net, b", "world": "w", "gain": 9.0, "low": 9.0}
    proof = {"kind": "proof", "method": "U-Net, a", "world": "w", "gain": 3.0, "low": -1.0}
    shown = goals([row | {"method": "a", "best": True}, row | ours, beside, proof], {})
    assert any("lower end of the 95 % interval: -1" in line for line in shown["missed"]), "only the judged one counts"
    assert any("Snorkel: not installed" in line for line in found["unjudged"])
    assert set(PROCESSES) >= {"shared", "regional", "shifted", "aged", "independent"}
