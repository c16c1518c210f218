"""Side-by-side runs against other tools: what is claimed in docs/measured.md can be run again."""
