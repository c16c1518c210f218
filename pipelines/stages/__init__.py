"""Thin Beam transforms: wiring only, the work is in plain functions below."""
