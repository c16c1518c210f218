"""The factory: plans and builds datasets; runs from a checkout, never installed."""
