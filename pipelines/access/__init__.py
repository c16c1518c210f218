"""Access to archives: HTTP, STAC search, rasters in blocks, OpenStreetMap extracts."""
