"""Flink: clusters, submission, and the builder that runs on its hosts."""
