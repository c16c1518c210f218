"""What an archive can fail with, and settings with the environment's words in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.outcome import Reason

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


class SettingError(ValueError):
    """The user's mistake outside the recipe: an environment variable that is not set. One clear line."""


class AccessError(Exception):
    """An archive did not give what was asked for.

    `retryable` says whether the same request may succeed at once; after the client's own retries it only says which
    class the failure was of. `detail` never holds a query string, a signature or a user name.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable
        self.status = status
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


def interpolate(text: str, environment: Mapping[str, str], *, where: str) -> str:
    """Replace $NAME and ${NAME} by environment variables.

    Raises:
        SettingError: a variable is not set, or is empty.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if not environment.get(name):
            raise SettingError(
                f"{where}: environment variable {name} is not set; set it, or write the url into the recipe"
            )
        return environment[name]

    return _VARIABLE.sub(value, text)
