"""OpenStreetMap extracts: download, objects, and boxes answered from a GeoParquet."""
