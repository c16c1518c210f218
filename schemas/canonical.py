"""JSON in its one canonical form: equal values give equal bytes."""

from __future__ import annotations

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Keys sorted, no spaces, characters as they are: for hashes, and for JSON inside tables and manifests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
