"""Google Earth Engine through its own client: search, pixels, quota and metering."""
