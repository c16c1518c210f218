"""Plans and builds datasets; runs from a checkout, never installed."""
