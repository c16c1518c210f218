"""Names of the folders that a dataset has beside its data while it is built."""

from __future__ import annotations

PLAN_FOLDER = "plan"
"""The plan."""
PLAN_FILE = "plan.json"
"""The plan's summary; written last, so a folder that has it holds a whole plan."""
WORK_FOLDER = ".work"
"""Caches of a build: the prepared map extract, answers of language models, the journal. Not part of the dataset."""
