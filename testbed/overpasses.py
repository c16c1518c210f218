"""Satellite overpasses of the miniature Earth, and the clouds at each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from testbed.world import Sky

ZONES = (32, 33)
"""UTM zones of the two tiles, northern hemisphere."""
TILES = {32: "32UQU", 33: "33UTP"}
"""MGRS tile that real Sentinel-2 products of this ground carry, by zone."""


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Sentinel2Pass:
    """One Sentinel-2 datatake in one processing."""

    sky: Sky
    platform: str
    """'S2A' or 'S2B'."""
    orbit: int
    """Relative orbit."""
    absolute_orbit: int
    baseline: str
    """Processing baseline, 'NN.NN'; from 04.00 on pixels carry +1000 DN."""
    made: datetime
    """Generation time."""
    zones: tuple[int, ...] = ZONES
    """Tiles that this processing exists for."""
    edge: tuple[int, ...] = ()
    """Tiles that the swath's edge cuts."""

    @property
    def name(self) -> str:
        """Folder and identity of the processing."""
        return f"{self.platform}_{self.sky.when:%Y%m%d}_N{self.baseline.replace('.', '')}"

    @property
    def offset_dn(self) -> int:
        """DN added to every pixel: ESA's BOA_ADD_OFFSET of -1000 seen from the file, from baseline 04.00 on."""
        return 1000 if self.baseline >= "04.00" else 0


_CLOUDY = Sky(
    when=_utc("2021-06-18T10:10:31.024"), sun_azimuth_deg=152.1, sun_elevation_deg=63.4, cloud=0.62, haze=0.12, number=1
)
_CLEAR = Sky(
    when=_utc("2021-07-23T10:15:59.024"), sun_azimuth_deg=154.0, sun_elevation_deg=59.6, cloud=0.06, haze=0.02, number=2
)
_AFTER = Sky(
    when=_utc("2022-07-03T10:10:41.024"), sun_azimuth_deg=151.3, sun_elevation_deg=62.8, cloud=0.09, haze=0.03, number=3
)

SENTINEL2_PASSES: tuple[Sentinel2Pass, ...] = (
    Sentinel2Pass(
        sky=_CLOUDY,
        platform="S2A",
        orbit=22,
        absolute_orbit=31279,
        baseline="03.00",
        made=_utc("2021-06-18T13:22:10.000"),
        edge=(33,),
    ),
    Sentinel2Pass(
        sky=_CLEAR,
        platform="S2B",
        orbit=65,
        absolute_orbit=22870,
        baseline="03.01",
        made=_utc("2021-07-23T12:41:37.000"),
    ),
    Sentinel2Pass(
        sky=_CLEAR,
        platform="S2B",
        orbit=65,
        absolute_orbit=22870,
        baseline="05.00",
        made=_utc("2023-02-11T04:02:55.000"),
        zones=(32,),
    ),
    Sentinel2Pass(
        sky=_AFTER,
        platform="S2B",
        orbit=22,
        absolute_orbit=27803,
        baseline="04.00",
        made=_utc("2022-07-03T12:58:02.000"),
    ),
)
"""A cloudy and a clear summer day in 2021, the clear one reprocessed for zone 32, and a fair summer day in 2022."""


@dataclass(frozen=True, kw_only=True)
class Sentinel1Pass:
    """One Sentinel-1 pass."""

    when: datetime
    orbit: int
    """Relative orbit."""
    absolute_orbit: int
    state: str
    """'ascending' or 'descending'."""
    datatake: int


SENTINEL1_PASSES: tuple[Sentinel1Pass, ...] = (
    Sentinel1Pass(
        when=_utc("2021-07-21T05:26:13.5"), orbit=168, absolute_orbit=38871, state="descending", datatake=0x04963A
    ),
    Sentinel1Pass(
        when=_utc("2022-07-02T16:58:50.5"), orbit=117, absolute_orbit=43924, state="ascending", datatake=0x053E52
    ),
)


@dataclass(frozen=True, kw_only=True)
class LandsatPass:
    """One Landsat overpass."""

    sky: Sky
    satellite: int
    """8 or 9."""


LANDSAT_PASSES: tuple[LandsatPass, ...] = (
    LandsatPass(
        sky=Sky(
            when=_utc("2021-07-20T10:04:22.5"),
            sun_azimuth_deg=147.0,
            sun_elevation_deg=58.9,
            cloud=0.08,
            haze=0.02,
            number=11,
        ),
        satellite=8,
    ),
    LandsatPass(
        sky=Sky(
            when=_utc("2022-07-07T10:04:31.2"), sun_azimuth_deg=145.5, sun_elevation_deg=60.4, cloud=0.10, number=12
        ),
        satellite=9,
    ),
)
ENMAP_SKY = Sky(
    when=_utc("2022-07-05T10:28:43.2"), sun_azimuth_deg=158.2, sun_elevation_deg=63.1, cloud=0.03, number=21
)
"""EnMAP's one scene, in the 2022 summer."""
