"""The errors a reader of a dataset can meet, each one clear line.

::

    LandweaveError                every error below, so that one `except` is enough
    ├── NotADatasetError          nothing that landweave wrote is there
    │   └── UnfinishedError       a build is under way or was interrupted: shards, but no landweave.json
    ├── LayoutError               written in a layout that this version cannot read
    ├── UnknownNameError          no such sample, modality, array, column (also a KeyError)
    ├── AbsentError               the sample has no such observation: nothing was obtained there (also a KeyError)
    ├── CorruptError              bytes are missing, truncated, changed or disagree with their manifest
    ├── AccessError               the place could not be reached: network, credentials, permissions
    ├── ExportError               an export that cannot be made: format, library, folder
    └── QueryError                a question that cannot be asked: bad syntax, wrong type (also a ValueError)
"""

from __future__ import annotations


class LandweaveError(Exception):
    """Every error of the reader."""

    def __str__(self) -> str:
        """The message as it was given: KeyError would quote it."""
        return str(self.args[0]) if self.args else ""


class NotADatasetError(LandweaveError):
    """Nothing that landweave wrote is at the path or URL."""


class UnfinishedError(NotADatasetError):
    """A dataset is being built there, or its build was interrupted: `landweave.json` is written last."""


class LayoutError(LandweaveError):
    """The dataset's layout version is not one that this reader knows."""


class UnknownNameError(LandweaveError, KeyError):
    """A sample, modality, array or column of that name does not exist in the dataset."""


class AbsentError(LandweaveError, KeyError):
    """The sample exists and has no such observation; the ledger says why."""


class CorruptError(LandweaveError):
    """Bytes are missing, truncated or changed, or two files of the dataset disagree."""


class AccessError(LandweaveError):
    """The dataset's place could not be reached."""


class QueryError(LandweaveError, ValueError):
    """A query that cannot be understood or does not fit the columns."""


class ExportError(LandweaveError):
    """An export that cannot be made: no such format, a library that is missing, a folder that is there already."""


def first_line(error: BaseException) -> str:
    """What an error of another library says, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
