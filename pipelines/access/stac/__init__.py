"""STAC search: APIs, static catalogues and stac-geoparquet files."""
