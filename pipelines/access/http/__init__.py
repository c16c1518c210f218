"""Requests to archives: connections, deadlines, retries, limits, and what an answer means."""
