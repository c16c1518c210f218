"""Rules over a sample's pixels, in a closed grammar: `share(sentinel2.SCL in [4]) >= 0.2 and worldcover[centre] == 10`.

    rule  = test { "and" test }
    test  = "share(" pixels condition ")" compare      share of the pixels that have a value, 0..1
          | pixels "[centre]" condition                the pixel at the centre of the footprint
          | "count(" layer ")" compare                 dates obtained; of OpenStreetMap: objects
          | attribute condition                        a value of the sample: attr_NAME, of `numbers` or of the file
    pixels = source "." band | label
    condition = compare | [ "not" ] "in" "[" number { "," number } "]"
    compare = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) number
    (of attributes also: ( "==" | "!=" ) 'text', and 'text' in lists)

Nothing is evaluated but this: no names of Python, no calls, no nesting.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
LONGEST, MOST_VALUES = 1_000, 256
"""Characters of a rule, and numbers in a list of it."""
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
COMPARE = rf"(?P<op>==|!=|<=|>=|<|>)\s*(?P<number>{NUMBER})"
LIST = rf"(?P<without>not\s+)?in\s*\[(?P<list>\s*{NUMBER}(?:\s*,\s*{NUMBER})*\s*)\]"
LAYER = r"(?P<layer>[a-z][a-z0-9_-]*)"
_PIXELS = rf"{LAYER}(?:\.(?P<band>[A-Za-z0-9_-]+))?"
_END = rf"(?P<of>==|!=|<=|>=|<|>)\s*(?P<limit>{NUMBER})"
_SHARE = re.compile(rf"share\s*\(\s*{_PIXELS}\s*(?:{COMPARE}|{LIST})\s*\)\s*{_END}")
_CENTRE = re.compile(rf"{_PIXELS}\s*\[\s*cent(?:re|er)\s*\]\s*(?:{COMPARE}|{LIST})")
_TEXT = r"'[^']*'"
_ATTRIBUTE = re.compile(
    rf"attr_(?P<layer>[A-Za-z][A-Za-z0-9_]{{0,63}})\s*(?:{COMPARE}|{LIST}|(?P<same>==|!=)\s*(?P<word>{_TEXT})"
    rf"|(?P<no>not\s+)?in\s*\[(?P<words>\s*{_TEXT}(?:\s*,\s*{_TEXT})*\s*)\])"
)
_COUNT = re.compile(rf"count\s*\(\s*{LAYER}\s*\)\s*{_END}")
_FORMS = (
    "share(LAYER.BAND in [CODES]) >= SHARE, LAYER.BAND[centre] == NUMBER, count(LAYER) >= NUMBER or "
    "attr_NAME > NUMBER (labels: no band; `and` joins them)"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a pixel must be."""

    op: str
    """One of OPERATORS, or 'in', 'not in'."""
    numbers: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    """Texts, of an attribute, instead of numbers."""

    def of(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """True where a value fulfils it."""
        import numpy as np

        if self.op in OPERATORS:
            return np.asarray(OPERATORS[self.op](values.astype(np.float64), self.numbers[0]))
        return np.isin(values.astype(np.float64), self.numbers, invert=self.op == "not in")

    def holds(self, value: float | str) -> bool:
        """Whether one value of an attribute fulfils it; a text is no number, and the other way round."""
        given: tuple[float, ...] | tuple[str, ...] = self.words or self.numbers
        if isinstance(value, str) != bool(self.words):
            return self.op in ("!=", "not in")
        if self.op in OPERATORS:
            return bool(OPERATORS[self.op](value, given[0]))
        return (value in given) == (self.op == "in")


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a rule."""

    kind: Literal["share", "centre", "count", "attribute"]
    layer: str
    """Name of a source or a label; of an attribute its name without `attr_`."""
    band: str | None
    """Name of a band; None for a label."""
    condition: Condition | None
    """Of a pixel or an attribute; None for a count."""
    limit: Condition | None
    """Of the share or the count; None for others."""
    text: str
    """As the recipe has it."""


def parsed(rule: str) -> tuple[Test, ...]:
    """The tests of a rule.

    Raises:
        ValueError: it is not of the grammar; one line that says where.
    """
    if len(rule) > LONGEST:
        raise ValueError(f"a rule has at most {LONGEST:,} characters; this one has {len(rule):,}")
    return tuple(_test(part.strip()) for part in re.split(r"\band\b(?=(?:[^']*'[^']*')*[^']*$)", rule))


def _test(text: str) -> Test:
    forms = {"share": _SHARE, "count": _COUNT, "centre": _CENTRE, "attribute": _ATTRIBUTE}
    kind, found = next(((k, m) for k, form in forms.items() if (m := form.fullmatch(text))), ("", None))
    if found is None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise ValueError(f"cannot read {shown!a}: expected {_FORMS}")
    said = found.groupdict()
    limit = Condition(said["of"], (float(said["limit"]),)) if kind in ("share", "count") else None
    if kind == "share" and limit is not None and not 0.0 <= limit.numbers[0] <= 1.0:
        raise ValueError(f"{text!a}: a share is 0 to 1, found {limit.numbers[0]:g}")
    condition = None if kind == "count" else condition_of(said)
    return Test(kind, said["layer"], said.get("band"), condition, limit, text)  # type: ignore[arg-type]


def condition_of(said: Mapping[str, str | None]) -> Condition:
    """The condition in the groups of a match of COMPARE or LIST."""
    if said.get("same"):
        return Condition(str(said["same"]), words=(str(said["word"])[1:-1],))
    if said.get("words"):
        words = tuple(w[1:-1] for w in re.findall(_TEXT, str(said["words"])))
        return Condition("not in" if said["no"] else "in", words=words)
    if said["op"] is not None:
        return Condition(said["op"], (float(said["number"] or 0),))
    numbers = tuple(float(n) for n in (said["list"] or "").split(","))
    if len(numbers) > MOST_VALUES:
        raise ValueError(f"a list in a rule has at most {MOST_VALUES} numbers; this one has {len(numbers)}")
    return Condition("not in" if said["without"] else "in", numbers)


def _checked(rule: str) -> str:
    parsed(rule)
    return rule


KeepRule = Annotated[str, Field(min_length=1), AfterValidator(_checked)]
"""A rule that reads."""


def band_of(name: str, bands: Sequence[str]) -> str | None:
    """The band of this name; upper and lower case count only where bands differ by nothing else."""
    if name in bands:
        return name
    alike = [b for b in bands if b.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def check_names(
    rules: Sequence[str],
    bands: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    objects: Sequence[str],
    attributes: Mapping[str, str | None],
) -> None:
    """Every layer and band of the rules must be in the recipe.

    Args:
        rules: of `quality.keep`.
        bands: source -> its bands.
        labels: labels with pixels.
        objects: labels with objects, which can be counted.
        attributes: attribute or number of the samples -> type of its values; None = a file decides.

    Raises:
        MisplacedError: one line with what there is.
    """
    for number, rule in enumerate(rules):
        for test in parsed(rule):
            try:
                _check(test, bands, labels, objects, attributes)
            except ValueError as error:
                raise MisplacedError(f"{test.text}: {error}", ("quality", "keep", number)) from None


def _check(
    test: Test,
    bands: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    objects: Sequence[str],
    attributes: Mapping[str, str | None],
) -> None:
    if test.kind == "attribute":
        _check_attribute(test, attributes)
        return
    if test.layer not in bands and test.layer not in labels:
        raise ValueError(f"{test.layer!r} is no source or label; there are {[*bands, *labels]}")
    if test.kind == "count" and test.layer not in bands and test.layer not in objects:
        raise ValueError(f"label {test.layer!r} has nothing to count")
    if test.kind == "count":
        return
    if test.layer in labels and test.band is not None:
        raise ValueError(f"label {test.layer!r} has classes and no band; write {test.layer!r} alone")
    if test.layer in bands and (test.band is None or band_of(test.band, bands[test.layer]) is None):
        found = "names no band" if test.band is None else f"has no band {test.band!r}"
        raise ValueError(f"{test.layer} {found}; it has {', '.join(bands[test.layer])}")


def check_types(rules: Sequence[str], types: Mapping[str, str]) -> None:
    """Texts are compared with texts, numbers with numbers.

    Args:
        rules: of `quality.keep`.
        types: attribute -> type of its values, of those that are known.

    Raises:
        ValueError: one line.
    """
    for test in (t for rule in rules for t in parsed(rule)):
        if test.kind == "attribute" and test.layer in types:
            try:
                _check_attribute(test, dict(types))
            except ValueError as error:
                raise ValueError(f"quality.keep: {test.text}: {error}") from None


def _check_attribute(test: Test, attributes: Mapping[str, str | None]) -> None:
    if test.layer not in attributes:
        has = ", ".join(f"attr_{name}" for name in attributes) or "none"
        raise ValueError(f"attr_{test.layer} is no attribute or number of the samples; there are {has}")
    kind = attributes[test.layer]
    assert test.condition is not None  # noqa: S101 - of the grammar
    if kind is not None and (kind == "string") != bool(test.condition.words):
        found, wanted = ("text", "'text' in quotes") if kind == "string" else (f"numbers ({kind})", "a number")
        raise ValueError(f"attr_{test.layer} holds {found}; compare it with {wanted}")
