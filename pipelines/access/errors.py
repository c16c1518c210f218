"""Errors of an archive, and settings that contain environment variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.variables import variable_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.outcome import Reason

_SCHEMES = ("http://", "https://", "s3://", "gs://")
named: set[str] = set()
"""Environment variables that addresses of this process were made from: messages show them in place of their values."""


class SettingError(ValueError):
    """The user's mistake outside the recipe: a variable that is not set, a host that is not trusted. One clear line."""


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


class ItemRefused(ValueError):  # noqa: N818 - a judgement, not a fault
    """A STAC item that a sensor or a label product cannot or must not use; `detail` is one line."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """BAD_ITEM: its pixels cannot be read right. NO_SCENE: it is not what the recipe asks for."""
        self.detail = detail


def interpolate(text: str, environment: Mapping[str, str], *, where: str, path: bool = False) -> str:
    """Replace $NAME or ${NAME} at the beginning of an address by an environment variable that a recipe may name.

    Args:
        text: The address, or the path, as the recipe says it.
        environment: Where variables are looked up.
        where: Which part of the recipe says it, for messages.
        path: The variable may also hold a path of this machine.

    Raises:
        SettingError: a recipe may not name the variable, or not there; it is not set, or holds no address. The
            message never holds the variable's value.
    """
    try:
        found = variable_of(text)
    except ValueError as error:
        raise SettingError(f"{where}: {error}") from None
    if found is None:
        return text
    name, rest = found
    value = environment.get(name)
    if not value:
        raise SettingError(f"{where}: environment variable {name} is not set; set it, or write the url into the recipe")
    if "://" in value or not path:
        if not value.lower().startswith(_SCHEMES):
            raise SettingError(
                f"{where}: environment variable {name} does not contain an http, https, s3 or gs address; correct it"
            )
        named.add(name)
    return value.rstrip("/") + rest if rest else value
