"""How to reach an archive: HTTP, STAC search, rasters in blocks, OpenStreetMap extracts."""
