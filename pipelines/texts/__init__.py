"""Texts of a dataset, apart from its pixels: one pass over its shards, whether it is finished or still grows.

`job` says what is asked; `worker` speaks about one shard; `allowance` keeps a budget; `batch` asks by files; `estimate`
predicts the tokens. `pipelines.speak` runs them, and adds the texts as a revision.
"""
