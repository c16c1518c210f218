"""Places, splits, shards and seasons, as pure functions of recipe and seed, without the network."""

from __future__ import annotations

from sampling.errors import SamplingError as SamplingError
from sampling.geobox import bbox as bbox
from sampling.geobox import footprint as footprint
from sampling.located import Located as Located
from sampling.packing import Packed as Packed
from sampling.packing import pack as pack
from sampling.places import locate as locate
from sampling.seasons import Season as Season
from sampling.seasons import season as season
