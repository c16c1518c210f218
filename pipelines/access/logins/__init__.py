"""Credentials: which ones an archive needs, and how a request is signed."""
