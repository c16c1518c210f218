"""Fuses label products into one map with a confidence, without knowing the truth.

1. `voters`: products of one family (years or dates of one producer) become one voter, since their errors are shared.
2. `votes`: expectation maximisation on counts of vote patterns, anchored at published accuracies (`priors`).
3. `image`: one Gaussian per class from the image, learnt from pixels whose votes are sure, in other blocks.
4. `doubt`: which pixels are probably wrong, and the confidence after reference points.

All statistics are sums of whole numbers, so they add over shards in any order and give the same bytes.
"""
