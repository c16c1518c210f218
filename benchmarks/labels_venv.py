"""Creates the environment of the peers of `benchmarks.labels`: `python -m benchmarks.labels_venv`."""

from __future__ import annotations

from benchmarks import loading_venv

PACKAGES = (
    "absl-py==2.5.1",
    "crowd-kit==1.4.2",
    "defusedxml==0.7.1",
    "grpcio==1.85.3",
    "joblib==1.6.0",
    "Markdown==3.11.3",
    "munkres==3.0.0",
    "narwhals==2.29.0",
    "nltk==3.10.4",
    "protobuf==7.36.2",
    "regex==2026.11.19",
    "scikit-learn==1.9.1",
    "snorkel==0.10.0",
    "tensorboard==2.21.0",
    "tensorboard-data-server==0.7.2",
    "threadpoolctl==3.8.0",
    "tqdm==4.70.1",
    "Werkzeug==3.1.9",
)
"""Versions that were installed and measured together; the rest comes from our own environment."""


def python() -> str | None:
    """The interpreter; None if the environment was not made."""
    found = loading_venv.python("labels", PACKAGES)
    return None if found is None else str(found)


if __name__ == "__main__":
    print(loading_venv.make("labels", PACKAGES))
