"""Fused labels of a dataset: two passes over its finished shards.

1. `collect`: every shard counts its vote patterns, and draws pixels and reference points.
2. `learn`: the statistics of all shards, added up in the order of the shards, give the model.
3. `label`: every shard is labelled with the model, as a shard of a second dataset at the same places, which the
   machinery of additions joins to the first.

`families` says which maps vote together; `sight` turns images into features.
"""
