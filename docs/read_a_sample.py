"""Read a dataset back; `make quickstart` runs this last. Usage: python docs/read_a_sample.py data/quickstart"""

import sys

import landweave

dataset = landweave.open(sys.argv[1])
train = dataset.query("worldcover_crops > 0.2", split="train")
sample = dataset.sample(train.ids[0])
print(f"{len(dataset)} samples {dataset.splits}; {len(train)} of the train split have more than 20 % crops")
print(f"sample {sample.id} at {sample.lonlat[1]:.4f} N {sample.lonlat[0]:.4f} E, EPSG:{sample.epsg}")
for name in ("sentinel2/bands_10m", "sentinel1/backscatter", "landsat/bands_30m", "enmap/bands_30m", "dem/elevation"):
    print(f"  {name:22} {sample[name].shape} {sample[name].dtype}")
print(f"  {sample.captions[0].text}")
for batch in dataset.stream(train, batch_size=16, shuffle=True, seed=0, arrays=["sentinel2", "worldcover"]):
    pixels, present = batch["sentinel2/bands_10m"], batch["sentinel2/present"]
    print(f"a batch: {pixels.shape} {pixels.dtype}, {present.mean():.0%} of its observations are present")
    break
