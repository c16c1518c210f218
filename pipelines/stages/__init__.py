"""Thin Beam transforms; plain functions elsewhere do the work."""
