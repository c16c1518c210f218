"""Rules over a sample's pixels, in a closed grammar: `share(sentinel2.SCL in [4]) >= 0.2 and worldcover[centre] == 10`.

    rule  = test { "and" test }
    test  = "share(" pixels condition ")" compare      share of the pixels that have a value, 0..1
          | pixels "[centre]" condition                the pixel at the centre of the footprint
          | "count(" layer ")" compare                 dates obtained; of OpenStreetMap: objects
          | attribute condition                        a value of the sample: attr_NAME, of `numbers` or of the file
    pixels, condition, compare: see `schemas.condition`; of attributes a condition may also compare with texts. A layer
    of one band, such as a derived one, needs no band

Nothing is evaluated but this: no names of Python, no calls, no nesting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.condition import CENTRE, LONGEST, Condition, ConditionReader, array_of, band_of
from schemas.grammar import GrammarError
from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_FORMS = (
    "share(LAYER.BAND in [CODES]) >= SHARE, LAYER.BAND[centre] == NUMBER, count(LAYER) >= NUMBER or "
    "attr_NAME > NUMBER (labels: no band; `and` joins them)"
)


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
    try:
        return _Rule(rule).whole()
    except GrammarError as error:
        shown = rule if len(rule) <= 80 else rule[:77] + "..."
        raise ValueError(f"cannot read the rule {shown!a}: it {error}; a rule is {_FORMS}") from None


class _Rule(ConditionReader):
    """Makes the tests of a rule."""

    def whole(self) -> tuple[Test, ...]:
        """All tests, joined by `and`."""
        found = [self._test()]
        while self.word("and"):
            found.append(self._test())
        self.end("`and`, or the end")
        return tuple(found)

    def _test(self) -> Test:
        first = self.token.at
        name = self.name("share(...), count(...), LAYER.BAND[centre] or attr_NAME")
        called = self.sign == "(" and name in ("share", "count")
        if called:
            self.take()
        if called:
            test = self._share() if name == "share" else self._count()
        elif name.startswith("attr_") and self.bracketed() is None:
            test = Test("attribute", name.removeprefix("attr_"), None, self.condition(texts=True), None, "")
        else:
            test = self._centre(name)
        return replace(test, text=self.text[first - 1 : self.token.at - 1].strip())

    def _share(self) -> Test:
        pixels, condition = self.pixels(), self.condition()
        self.expect(")")
        at, limit = self.token.at, self.compared()
        if not 0.0 <= limit.numbers[0] <= 1.0:
            raise GrammarError(f"compares a share with {limit.numbers[0]:g} at character {at}; a share is 0 to 1")
        return Test("share", pixels.layer, pixels.band, condition, limit, "")

    def _count(self) -> Test:
        layer = self.name("the name of a layer")
        self.expect(")")
        return Test("count", layer, None, None, self.compared(), "")

    def _centre(self, name: str) -> Test:
        if self.bracketed() not in CENTRE:
            raise self.unexpected("[centre]")
        self.take()
        pixels = array_of(name)
        return Test("centre", pixels.layer, pixels.band, self.condition(), None, "")


def _checked(rule: str) -> str:
    parsed(rule)
    return rule


KeepRule = Annotated[str, Field(min_length=1), AfterValidator(_checked)]
"""A rule that reads."""


def check_names(
    rules: Sequence[str],
    bands: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    objects: Sequence[str],
    attributes: Mapping[str, str | None],
    later: Sequence[str] = (),
) -> None:
    """Every layer and band of the rules must be in the recipe.

    Args:
        rules: of `quality.keep`.
        bands: source, derived layer or channels of the map -> its bands.
        labels: labels with pixels.
        objects: labels with objects, which can be counted.
        attributes: attribute or number of the samples -> type of its values; None = a file decides.
        later: fused labels, which are made when all samples are there.

    Raises:
        MisplacedError: one line with what there is.
    """
    for number, rule in enumerate(rules):
        for test in parsed(rule):
            try:
                _check_time(test, later)
                _check(test, bands, labels, objects, attributes)
            except ValueError as error:
                raise MisplacedError(f"{test.text}: {error}", ("quality", "keep", number)) from None


def _check_time(test: Test, later: Sequence[str]) -> None:
    if test.kind != "attribute" and test.layer in later:
        raise ValueError(
            f"{test.layer!r} is fused when all samples are there, so no rule of the build can use it; leave samples "
            f"out when you read them: query('{test.layer}_confidence > 0.8')"
        )


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
        raise ValueError(f"label {test.layer!r} stores no objects and has no dates, so there is nothing to count")
    if test.kind == "count":
        return
    if test.layer in labels and test.band is not None:
        raise ValueError(f"label {test.layer!r} has classes and no band; write {test.layer!r} alone")
    if test.layer not in bands or (test.band is None and len(bands[test.layer]) == 1):
        return
    if test.band is None or band_of(test.band, bands[test.layer]) is None:
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
