"""Views for other libraries: xarray over the whole and over one sample, torchgeo's samples; oracles numpy, rasterio."""

from __future__ import annotations

import pickle
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import landweave
from tests.shards.synthetic import planned


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = planned((4, 3, 3), sources=("sentinel2", "sentinel1", "landsat", "dem"), size_m=120.0)
    return plan.build(tmp_path_factory.mktemp("views") / "data")


@pytest.fixture(scope="module")
def data(source: Path) -> landweave.Dataset:
    return landweave.open(source)


def test_the_whole_is_lazy_chunked_by_shard_and_masked_by_presence(data: landweave.Dataset) -> None:
    tree = data.to_xarray()
    bands = tree["sentinel2/bands_10m"]
    assert bands.dims == ("sample", "time", "band_10m", "y_10m", "x_10m")
    assert bands.chunks[0] == (3, 3, 3)
    assert len(bands.chunks[1]) == 1
    assert list(bands["sample"].values) == data.query().ids
    assert tree["epsg"].values.tolist() == [32633] * 9
    loaded = bands.compute(scheduler="synchronous").values
    for i, sample in enumerate(data):
        for slot, there in enumerate(sample.present["sentinel2"]):
            expected = np.full(loaded.shape[2:], np.nan, np.float32)
            if there:
                stored = sample["sentinel2/bands_10m"][slot]
                expected = np.where(stored == 0, np.nan, stored).astype(np.float32)
            np.testing.assert_array_equal(loaded[i, slot], expected)
    np.testing.assert_array_equal(bands["present"].values, data.catalogue.presence("sentinel2"))


def test_an_absent_class_map_is_no_class(data: landweave.Dataset) -> None:
    """Class 0 of Dynamic World is water: an absent map must not become a lake."""
    classes = data.to_xarray(arrays=["dynamicworld"])["dynamicworld/classes"].compute()
    there = data.catalogue.presence("dynamicworld")[:, 0]
    assert not there.all()
    assert np.isnan(classes.values[~there]).all()
    assert (classes.values[there] == 0).any()


@pytest.mark.parametrize("values", ["stored", "masked", "physical"])
def test_values(data: landweave.Dataset, values: str) -> None:
    chosen = data.query(split="val")
    node = data.to_xarray(chosen, arrays=["landsat"], values=values)["landsat"]  # type: ignore[arg-type]
    assert list(node["sample"].values) == chosen.ids
    found = node["bands_30m"].compute(scheduler="synchronous").values
    for i, name in enumerate(chosen):
        sample = data.sample(name)
        if sample.get("landsat/bands_30m") is None:
            continue
        expected = sample["landsat/bands_30m"] if values == "stored" else sample.physical("landsat/bands_30m")
        if values == "masked":
            stored = sample["landsat/bands_30m"]
            expected = np.where(stored == 0, np.nan, stored).astype(np.float32)
        np.testing.assert_array_equal(found[i], expected)
    assert node["valid"].dtype == bool
    with pytest.raises(landweave.QueryError, match="'masked', 'stored' or 'physical'"):
        data.to_xarray(values="raw")  # type: ignore[arg-type]


def test_statistics_of_the_whole_are_those_of_the_catalogue(data: landweave.Dataset) -> None:
    train = data.query(split="train")
    bands = data.to_xarray(train, arrays=["sentinel2/bands_10m"])["sentinel2/bands_10m"]
    with dask.config.set(scheduler="synchronous"):
        mean = bands.astype(np.float64).mean(("sample", "time", "y_10m", "x_10m")).values
    np.testing.assert_allclose(mean, data.normalisation("sentinel2/bands_10m")[0], rtol=1e-9)


def test_a_task_travels_to_another_process(data: landweave.Dataset) -> None:
    node = data.to_xarray(arrays=["dem"], values="stored")["dem/elevation"]
    again = pickle.loads(pickle.dumps(node))  # noqa: S301
    np.testing.assert_array_equal(again.compute().values, node.compute().values)


def test_a_damaged_chunk_is_an_error_and_no_number(source: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(source, tmp_path / "data")
    victim = next(p for p in (tmp_path / "data/data.zarr/dem/elevation/c/0").rglob("*") if p.is_file())
    raw = bytearray(victim.read_bytes())
    raw[60] ^= 1
    victim.write_bytes(raw)
    view = landweave.open(tmp_path / "data").to_xarray(arrays=["dem/elevation"])["dem/elevation"]
    with pytest.raises(landweave.CorruptError, match="dem/elevation"):
        view.mean().compute(scheduler="synchronous")


def test_a_sample_as_a_tree(data: landweave.Dataset) -> None:
    sample = data.sample("s000_002")
    tree = sample.to_datatree()
    assert set(tree.children) == {g for g, slots in sample.present.items() if any(slots)}
    assert "sentinel1" not in tree.children, "absent is absent"
    assert tree.attrs["captions"] == [c.text for c in sample.captions]
    assert set(tree["sentinel2"].children) == {"10m", "20m", "60m"}
    fine = tree["sentinel2/10m"]
    np.testing.assert_array_equal(fine["bands_10m"].values, sample["sentinel2/bands_10m"][1:])
    assert fine["time"].values[0] == np.datetime64(sample.datetimes("sentinel2")[1].replace(tzinfo=None))  # type: ignore[union-attr]
    assert fine["slot"].values.tolist() == ["summer"]
    np.testing.assert_array_equal(fine["wavelength"].values, sample.wavelengths("sentinel2/bands_10m"))
    assert (fine["fwhm"].values > 0).all()
    assert fine["gsd"].item() == 10.0
    assert fine["band"].values.tolist() == ["B02", "B03", "B04", "B08"]
    a, _, left, _, e, top = sample.transform("sentinel2/bands_10m")
    assert fine["x"].values[0] == left + a / 2
    assert fine["y"].values[0] == top + e / 2
    assert fine["bands_10m"].attrs["grid_mapping"] == "spatial_ref"
    labels = tree["openstreetmap/classes"]
    assert labels.attrs["flag_meanings"].split() == ["building", "water"]
    physical = sample.to_datatree(physical=True)["dem/elevation"].values
    np.testing.assert_array_equal(physical, sample.physical("dem/elevation"))


def test_the_grid_mapping_is_what_gdal_reads(data: landweave.Dataset, tmp_path: Path) -> None:
    """Written as NetCDF and opened by odc-geo or rasterio, it lies where the sample lies."""
    import pyproj

    sample = data.sample(0)
    node = sample.to_datatree()["dem"].to_dataset()
    reference = node["spatial_ref"]
    assert pyproj.CRS.from_wkt(reference.attrs["crs_wkt"]).to_epsg() == sample.epsg
    numbers = [float(v) for v in reference.attrs["GeoTransform"].split()]
    a, b, c, d, e, f = sample.transform("dem/elevation")
    assert numbers == [c, a, b, f, d, e]
    odc = pytest.importorskip("odc.geo.xr", reason="odc-geo is in the bench group")
    assert odc is not None
    box = node["elevation"].odc.geobox
    assert box.crs.epsg == sample.epsg
    assert tuple(box.affine)[:6] == sample.transform("dem/elevation")


def test_plain_open_zarr_still_works(source: Path, data: landweave.Dataset) -> None:
    plain = xr.open_zarr(source / "data.zarr", group="dem", mask_and_scale=False)
    row = data.sample(0).item["shard"] * data.spec.shard_samples + data.sample(0).item["row"]
    np.testing.assert_array_equal(plain["elevation"].values[row], data.sample(0)["dem/elevation"])


def test_torchgeo_itself_collates_its_samples(data: landweave.Dataset) -> None:
    utils = pytest.importorskip("torchgeo.datasets.utils", reason="torchgeo is not installed (it needs Python 3.12)")
    transforms = pytest.importorskip("torchgeo.transforms")
    torch = pytest.importorskip("torch")
    from landweave.torchgeo import TorchGeoSamples

    made = TorchGeoSamples(data, image="sentinel2/bands_10m", mask="worldcover")
    (batch,) = torch.utils.data.DataLoader(made, batch_size=16, collate_fn=utils.stack_samples)
    assert batch["image"].shape == (6, 4, 12, 12)
    assert [int(s["index"]) for s in utils.unbind_samples(batch)] == made.positions.tolist()
    assert transforms.AppendNDVI(index_nir=3, index_red=2)(batch["image"]).shape == (6, 5, 12, 12)


def test_torchgeo_samples(data: landweave.Dataset) -> None:
    torch = pytest.importorskip("torch")
    from landweave.torchgeo import TorchGeoSamples

    made = TorchGeoSamples(data, image="sentinel2/bands_10m", mask="worldcover", slot=0)
    lacking = {"s000_002", "s001_002", "s002_002"}
    found = [data.sample(int(made[i]["index"])).id for i in range(len(made))]
    assert found == [i for i in data.query().ids if i not in lacking]
    sample = data.sample(int(made[1]["index"]))
    np.testing.assert_array_equal(made[1]["image"].numpy(), sample["sentinel2/bands_10m"][0].astype(np.float32))
    np.testing.assert_array_equal(made[1]["mask"].numpy(), sample["worldcover"])
    assert made[1]["image"].dtype == torch.float32
    assert made[1]["mask"].dtype == torch.int64
    left, right, pixel, bottom, top, _, first, last, _ = made[1]["bounds"].tolist()
    assert (left, top, pixel) == (sample.item["x_min"], sample.item["y_max"], 10.0)
    assert (right - left, top - bottom) == (120.0, 120.0)
    assert first == last == sample.datetimes("sentinel2")[0].timestamp()  # type: ignore[union-attr]
    assert tuple(made[1]["transform"].tolist()) == (*sample.transform("sentinel2/bands_10m"), 0, 0, 1)
    assert all(isinstance(value, torch.Tensor) for value in made[1].values()), "torchgeo's stack_samples knows no other"
    (batch,) = torch.utils.data.DataLoader(made, batch_size=16)
    assert batch["image"].shape == (6, 4, 12, 12)
    assert batch["epsg"].tolist() == [32633] * 6
    coarse = TorchGeoSamples(data, image="dem/elevation", mask="worldcover", physical=True)
    shapes = {(tuple(s["image"].shape), tuple(s["mask"].shape)) for s in (coarse[i] for i in range(len(coarse)))}
    assert shapes == {((1, 4, 4), (4, 4))}
    with pytest.raises(landweave.UnknownNameError, match="no date slot 2"):
        TorchGeoSamples(data, image="sentinel2/bands_10m", slot=2)
