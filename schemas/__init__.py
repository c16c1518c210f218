"""Frozen records that all packages share; no input or output happens here."""
