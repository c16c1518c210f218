"""The expression language: a graph of values and function calls becomes a value."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from testbed.earthengine.errors import bad

if TYPE_CHECKING:
    from testbed.earthengine.catalogue import EeCatalogue
    from testbed.earthengine.images import Image

Function = Callable[..., Any]
_MAX_DEPTH = 100


@dataclass
class Cost:
    """What one evaluation has used."""

    pixels_read: int = 0
    """Pixels taken from the rasters of assets."""
    functions: int = 0
    """Function calls."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, pixels: int) -> None:
        """Count pixels."""
        with self.lock:
            self.pixels_read += pixels


@dataclass(frozen=True)
class Collection:
    """Images in order."""

    images: tuple[Image, ...]
    asset_id: str | None = None


@dataclass(frozen=True)
class Feature:
    """A geometry with properties."""

    geometry: Any
    properties: Mapping[str, Any]


@dataclass
class Evaluation:
    """One request's expression."""

    catalogue: EeCatalogue
    functions: Mapping[str, Function]
    known: frozenset[str]
    """Names of all the algorithms that the real service lists."""
    cost: Cost = field(default_factory=Cost)

    def run(self, expression: Any) -> Any:
        """The value of an Expression resource.

        Raises:
            EeError: 400.
        """
        if (
            not isinstance(expression, dict)
            or not isinstance(expression.get("values"), dict)
            or expression.get("result") not in expression["values"]
        ):
            raise bad("Expression is malformed: it must have 'values' and a 'result' that names one of them.")
        return _Scope(self, expression["values"]).node({"valueReference": expression["result"]}, {}, 0)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Apply a function of the service."""
        self.cost.functions += 1
        function = self.functions.get(name)
        if function is None:
            if name in self.known:
                raise bad(f"{name}: the testbed's Earth Engine does not evaluate this algorithm.")
            raise bad(f"Unrecognized algorithm '{name}'.")
        return function(self, arguments)


class _Scope:
    """Values by reference; those that depend on no argument are computed once."""

    def __init__(self, evaluation: Evaluation, values: Mapping[str, Any]) -> None:
        self._evaluation = evaluation
        self._values = values
        self._done: dict[str, Any] = {}

    def node(self, node: Any, names: Mapping[str, Any], depth: int) -> Any:  # noqa: C901, PLR0911 - one arm a kind
        """The value of a ValueNode; `names` holds the arguments of the functions around it."""
        if depth > _MAX_DEPTH:
            raise bad("Expression is too deeply nested.")
        if not isinstance(node, dict) or len(node) != 1:
            raise bad("Expression is malformed: a value node must have exactly one field.")
        ((kind, body),) = node.items()
        match kind:
            case "constantValue":
                return body
            case "integerValue":
                return int(body)
            case "valueReference":
                return self._reference(body, names, depth)
            case "argumentReference":
                if body not in names:
                    raise bad(f"Expression is malformed: no argument is named '{body}'.")
                return names[body]
            case "arrayValue":
                return [self.node(x, names, depth + 1) for x in body.get("values", [])]
            case "dictionaryValue":
                return {k: self.node(v, names, depth + 1) for k, v in body.get("values", {}).items()}
            case "functionDefinitionValue":
                return self._definition(body, names, depth)
            case "functionInvocationValue":
                return self._invocation(body, names, depth)
        raise bad(f"Expression is malformed: unknown value '{kind}'.")

    def _reference(self, name: str, names: Mapping[str, Any], depth: int) -> Any:
        if name not in self._values:
            raise bad(f"Expression is malformed: no value is named '{name}'.")
        if names:  # inside a function body: the value may depend on its arguments
            return self.node(self._values[name], names, depth + 1)
        if name not in self._done:
            self._done[name] = self.node(self._values[name], names, depth + 1)
        return self._done[name]

    def _definition(self, body: Mapping[str, Any], names: Mapping[str, Any], depth: int) -> Function:
        arguments, result = list(body.get("argumentNames", [])), body["body"]

        def function(*values: Any, **named: Any) -> Any:
            bound = dict(zip(arguments, values, strict=False))
            return self._reference(result, {**names, **bound, **named}, depth + 1)

        return function

    def _invocation(self, body: Mapping[str, Any], names: Mapping[str, Any], depth: int) -> Any:
        arguments = {k: self.node(v, names, depth + 1) for k, v in body.get("arguments", {}).items()}
        if "functionName" in body:
            return self._evaluation.call(body["functionName"], arguments)
        function = self._reference(body["functionReference"], names, depth)
        if not callable(function):
            raise bad("Expression is malformed: a function reference does not name a function.")
        return function(**arguments)
