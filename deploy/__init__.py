"""Launching and watching builds on clusters."""
