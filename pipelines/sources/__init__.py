"""Sensors: turn items into scenes, scenes into candidates, and delivered values into canonical observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from schemas.declared_source import CloudyLayer, DatedLayer, StaticLayer
from schemas.sensors import DemSource, EnmapSource, HlsSource, LandsatSource, Sentinel1Source, Sentinel2Source

if TYPE_CHECKING:
    from pipelines.sources.sensor import SensorSource
    from schemas.sensors import Source


def open_source(source: Source) -> SensorSource:  # noqa: PLR0911 - one for each sensor
    """The sensor of a recipe's entry; nothing is fetched."""
    match source:
        case Sentinel2Source():
            from pipelines.sources.sentinel2 import Sentinel2

            return Sentinel2(source)
        case Sentinel1Source():
            from pipelines.sources.sentinel1 import Sentinel1

            return Sentinel1(source)
        case LandsatSource():
            from pipelines.sources.landsat import Landsat

            return Landsat(source)
        case EnmapSource():
            from pipelines.sources.enmap import Enmap

            return Enmap(source)
        case HlsSource():
            from pipelines.sources.hls import Hls

            return Hls(source)
        case DemSource():
            from pipelines.sources.dem import Dem

            return Dem(source)
        case StaticLayer() | DatedLayer() | CloudyLayer():
            from pipelines.sources.declared import Declared

            return Declared(source)
        case _:
            assert_never(source)
