"""Benchmarks against other tools, which reproduce the figures in docs/measured.md."""
