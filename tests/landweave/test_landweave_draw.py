"""Pictures for people: the contact sheet, notebooks, and colours that mean the same on every map."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from landweave.draw import bar_length_m, contact_sheet
from landweave.render import class_colours, picture


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def complete(data: landweave.Dataset) -> landweave.Sample:
    return next(s for s in data if all(all(slots) for slots in s.present.values()))


def test_nothing_of_a_sheet_is_cut_off_and_captions_are_whole(data: landweave.Dataset) -> None:
    samples = [data[i] for i in range(3)]
    figure = contact_sheet("a title " * 3, samples)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    words = [t for axes in [figure, *figure.axes] for t in axes.texts]
    for text in words:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text.get_text()
        assert box.x1 <= width, text.get_text()
        assert box.y1 <= height, text.get_text()
    shown = " ".join(t.get_text() for t in words)
    for sample in samples:
        for caption in sample.captions:
            assert " ".join(caption.text.split()) in " ".join(shown.split())
    drawn = sum(len(axes.images) for axes in figure.axes)
    assert drawn == sum(sum(slots) for s in samples for slots in s.present.values())
    assert sum(t.get_text() == "absent" for t in words) == sum(
        not there for s in samples for p in s.present.values() for there in p
    )


def test_a_class_has_one_colour_on_all_maps(data: landweave.Dataset) -> None:
    labels = [g for g in data.spec.groups if g.classes]
    assert labels
    other = dataclasses.replace(
        labels[0], name="other", classes=tuple(dataclasses.replace(c, colour="#123456") for c in labels[0].classes)
    )
    spec = dataclasses.replace(data.spec, groups=(*data.spec.groups, other))
    first = {
        c.common: colour for c, colour in zip(labels[0].classes, class_colours(spec, labels[0]).values(), strict=True)
    }
    for entry in other.classes:
        assert class_colours(spec, other)[entry.code] in (first[entry.common], "#123456")
    alone = [c for c in labels[0].classes if sum(d.common == c.common for d in labels[0].classes) == 1]
    assert all(class_colours(spec, other)[c.code] == c.colour for c in alone)


def test_pictures_show_the_stored_classes_and_stretch_the_stored_bands(data: landweave.Dataset) -> None:
    sample = complete(data)
    for group in data.spec.groups:
        drawn = picture(sample, group)
        array = max(group.arrays, key=lambda a: a.kind == "continuous")
        assert drawn.dtype == np.uint8
        assert drawn.shape[2] == 3
        if group.classes:
            codes = sample[group.arrays[0].path]
            colours = class_colours(data.spec, group)
            for code in np.unique(codes).tolist():
                if code in colours:
                    found = {"#{:02x}{:02x}{:02x}".format(*c) for c in drawn[codes == code].tolist()}
                    assert found == {colours[code].lower()}
        else:
            assert drawn.shape[:2] == sample[array.path].shape[-2:]


def test_an_absent_layer_is_an_error_and_not_a_grey_picture(data: landweave.Dataset) -> None:
    sample, group, slot = next(
        (s, g, i) for s in data for g in data.spec.groups for i, there in enumerate(s.present[g.name]) if not there
    )
    with pytest.raises(landweave.AbsentError, match=group.name):
        picture(sample, group, slot)


@given(st.floats(1.0, 1e7))
def test_a_scale_bar_is_round_and_fits(width_m: float) -> None:
    length = bar_length_m(width_m)
    assert width_m / 5 <= length * 1.0001
    assert length <= width_m / 2 * 1.0001
    assert re.fullmatch(r"[125]0*(\.0)?e[+-]\d+|0\.0*[125]", f"{length:.0e}".replace("e+00", "e+0"))


def test_notebooks_show_datasets_selections_samples_and_streams(data: landweave.Dataset) -> None:
    sample = complete(data)
    html = sample._repr_html_()
    assert html.count("data:image/png;base64,") == sum(sum(slots) for slots in sample.present.values())
    assert data.spec.name in data._repr_html_()
    for group in data.spec.groups:
        assert group.name in data._repr_html_()
    chosen = data.query(split="train")
    assert f"{len(chosen)} samples" in chosen._repr_html_()
    assert chosen.ids[0] in chosen._repr_html_()
    assert all(a in data.stream(batch_size=2)._repr_html_() for a in data.arrays)
    assert sample.plot().axes


def test_text_of_a_dataset_is_no_html(data: landweave.Dataset) -> None:
    sample = data[0]
    sample.id = "<script>alert(1)</script>\x1b[2J"
    assert "<script>" not in sample._repr_html_()
    assert "\x1b" not in sample._repr_html_()
