"""Loaded once by the process that commands are forked from: what they would spend most of their time on."""

import apache_beam
import rasterio

import landweave
import landweave.__main__
import pipelines.__main__
import pipelines.build
import pipelines.jobs
import pipelines.metrics
import pipelines.shards

__all__ = ["apache_beam", "landweave", "pipelines", "rasterio"]
