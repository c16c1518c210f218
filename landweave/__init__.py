"""Reads multi-modal Earth-observation datasets written by landweave: query, inspect, stream.

>>> import landweave
>>> data = landweave.open("data/quickstart")
>>> sample = data.sample(0)
>>> sample["sentinel2/bands_10m"].shape  # (time, band, y, x)
"""

from landweave.dataset import Dataset as Dataset
from landweave.dataset import open_dataset as open  # noqa: A004 - landweave.open reads well and shadows nothing here
from landweave.errors import AbsentError as AbsentError
from landweave.errors import AccessError as AccessError
from landweave.errors import CorruptError as CorruptError
from landweave.errors import LandweaveError as LandweaveError
from landweave.errors import LayoutError as LayoutError
from landweave.errors import NotADatasetError as NotADatasetError
from landweave.errors import QueryError as QueryError
from landweave.errors import UnfinishedError as UnfinishedError
from landweave.errors import UnknownNameError as UnknownNameError
from landweave.sample import Sample as Sample
from landweave.selection import Selection as Selection
from landweave.stream import Stream as Stream

__version__ = "0.1.0"

__all__ = [
    "AbsentError",
    "AccessError",
    "CorruptError",
    "Dataset",
    "LandweaveError",
    "LayoutError",
    "NotADatasetError",
    "QueryError",
    "Sample",
    "Selection",
    "Stream",
    "UnfinishedError",
    "UnknownNameError",
    "__version__",
    "open",
]
