"""Typed claims of captions, and their execution against the facts of a sample: what `prove` and the factory share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from landweave.facts import MONTHS, REGIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from landweave.layout import Json

Span = tuple[float, float]
"""(least, most), both included."""
EVERYTHING = 1e12
"""Upper bound of a claim that has none."""
VEGETATION = ("trees", "shrub", "grass", "crops", "wetland", "moss and lichen")
"""Classes that 'vegetation' stands for."""
_WATERCOURSES = ("river", "stream", "canal", "ditch")
_LISTED = 3
"""Classes that facts list for a part of the scene."""
_EXACT = 1e-6
"""Slack for binary fractions."""


class ShareOf(Protocol):
    """Share of one class over a part of a scene."""

    @property
    def name(self) -> str:
        """Class of the common taxonomy."""

    @property
    def percent(self) -> float:
        """Of the labelled pixels, 0..100."""

    @property
    def pixels(self) -> int:
        """How many."""


class FactsOf(Protocol):
    """What claims are executed against; None where a sample does not have it. `landweave.facts.Facts` is one."""

    @property
    def overall(self) -> Sequence[ShareOf]:
        """Over the whole scene, largest first."""

    @property
    def regions(self) -> Mapping[str, Sequence[ShareOf]]:
        """Part of the scene -> up to three classes, largest first."""

    @property
    def objects(self) -> Sequence[tuple[str, int]]:
        """Kinds of map objects and their numbers."""

    @property
    def road_length_m(self) -> float | None:
        """Metres; None = no map."""

    @property
    def elevation_min_m(self) -> float | None:
        """Metres."""

    @property
    def elevation_max_m(self) -> float | None:
        """Metres."""

    @property
    def slope_mean_deg(self) -> float | None:
        """Degrees."""

    @property
    def relief(self) -> str | None:
        """'flat', 'rolling', 'hilly' or 'mountainous'."""

    @property
    def season(self) -> str | None:
        """Of the image."""

    @property
    def month(self) -> int | None:
        """1..12."""

    @property
    def year(self) -> int | None:
        """Of the image."""

    @property
    def place(self) -> str | None:
        """Hemisphere and climate band."""

    @property
    def size_m(self) -> float:
        """Edge of the footprint, metres; 0 = unknown."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement that can be executed."""

    predicate: str
    """'share', 'presence', 'absence', 'rank', 'comparison', 'order', 'extreme', 'count', 'length', 'area', 'height',
    'relief', 'slope', 'season', 'time', 'place', 'rest' or 'mix'."""
    about: tuple[str, ...] = ()
    """Land covers (their areas are added), kinds of map objects, or one field of the facts."""
    where: tuple[str, ...] = ()
    """Parts of the scene, whose areas are added; empty for the whole scene."""
    low: float = 0.0
    """Least value that supports the claim: percent, rank, ratio, number, metres, square metres or degrees."""
    high: float = EVERYTHING
    """Most value that supports it."""
    against: tuple[str, ...] = ()
    """Comparison and order: the other land covers. Place, season, relief: the word."""
    against_where: tuple[str, ...] = ()
    """Comparison: parts of the scene of the other side."""
    words: str = ""
    """Words of the text that say so."""

    @classmethod
    def spanning(cls, predicate: str, about: tuple[str, ...], where: tuple[str, ...], span: Span, words: str) -> Claim:
        """A claim that a value lies in a span."""
        return cls(predicate, about, where, float(span[0]), float(span[1]), words=words)

    def record(self) -> dict[str, Any]:
        """Plain values for JSON; what is empty is left out."""
        found = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v not in ((), "")}
        if self.high >= EVERYTHING:
            found.pop("high")
        return found

    @classmethod
    def from_record(cls, record: Json) -> Claim:
        """The claim of `record`; fields that it does not know are left alone.

        Raises:
            ValueError: a value of the wrong type, or an unknown predicate.
        """
        found: dict[str, Any] = {}
        for each in fields(cls):
            value = record.get(each.name)
            if value is None:
                continue
            kind = (int, float) if each.name in ("low", "high") else str
            items = value if each.name in _LISTS else [value]
            if not isinstance(items, list) or not all(isinstance(v, kind) and not isinstance(v, bool) for v in items):
                raise ValueError(f"{each.name} of a claim is {value!r}")
            found[each.name] = tuple(items) if each.name in _LISTS else value
        if found.get("predicate") not in EXECUTE:
            raise ValueError(f"no predicate {found.get('predicate')!r}")
        return cls(**found)


_LISTS = ("about", "where", "against", "against_where")


@dataclass(frozen=True)
class Evidence:
    """The facts, as claims ask for them."""

    facts: FactsOf
    _known: dict[tuple[tuple[str, ...], tuple[str, ...]], Span | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Shares that were asked for before."""

    def listed(self, part: str) -> Sequence[ShareOf] | None:
        """Classes of a part of the scene ('' = the whole), largest first; None if the facts do not say."""
        return (self.facts.overall or None) if part == "" else self.facts.regions.get(part)

    def share(self, about: tuple[str, ...], where: tuple[str, ...]) -> Span | None:
        """(least, most) percent of these classes together; wider than a point where facts leave small classes out."""
        if (about, where) not in self._known:
            self._known[about, where] = self._share(about, where)
        return self._known[about, where]

    def _share(self, about: tuple[str, ...], where: tuple[str, ...]) -> Span | None:
        parts = [self._share_of_part(about, part) for part in where or ("",)]
        if any(part is None for part in parts):
            return None
        weights = [_labelled(self.listed(part) or ()) for part in where or ("",)]
        total = sum(weights)
        spans = [part for part in parts if part is not None]
        if total <= 0:
            return None
        low = sum(w * s[0] for w, s in zip(weights, spans, strict=True)) / total
        return low, sum(w * s[1] for w, s in zip(weights, spans, strict=True)) / total

    def _share_of_part(self, about: tuple[str, ...], part: str) -> Span | None:
        listed = self.listed(part)
        if listed is None:
            return None
        found = float(sum(s.percent for s in listed if s.name in about))
        missing = [name for name in about if all(s.name != name for s in listed)]
        if not missing:
            return found, found
        rest = max(0.0, 100.0 - sum(s.percent for s in listed))
        if part == "" or len(listed) < _LISTED:
            return found, found + min(rest, 1.0)
        anywhere = [n for n in missing if any(s.name == n for s in self.facts.overall)]
        if not anywhere:
            return found, found + min(rest, 1.0)
        most = [self._left_for(name, part, listed[-1].percent) for name in anywhere]
        return found, found + min(rest, sum(most))

    def _left_for(self, name: str, part: str, most: float) -> float:
        """Most percent of a part that a land cover may have that is not listed there: what other quarters leave."""
        here = _labelled(self.listed(part) or ())
        every = next((s.pixels for s in self.facts.overall if s.name == name), 0)
        if part == "middle" or not every or here <= 1.0:
            return most
        others = [s.pixels for r in REGIONS if r not in (part, "middle")
                  for s in self.facts.regions.get(r, ()) if s.name == name]  # fmt: skip
        return min(most, max(0.0, 100.0 * (every - sum(others)) / here))

    def count(self, kinds: tuple[str, ...]) -> int | None:
        """Objects of these kinds; None without a map."""
        if not self.facts.objects and self.facts.road_length_m is None:
            return None
        wanted = {k for kind in kinds for k in (_WATERCOURSES if kind == "watercourse" else (kind,))}
        return sum(count for kind, count in self.facts.objects if kind in wanted)


def _labelled(listed: Sequence[ShareOf]) -> float:
    """Labelled pixels of a part, from its largest class: pixels / share."""
    return next((s.pixels * 100.0 / s.percent for s in listed if s.percent and s.pixels), 0.0) or float(bool(listed))


def refuted(claim: Claim, evidence: Evidence) -> str | None:
    """Why the facts do not support a claim, as one clause; None if they do."""
    return EXECUTE[claim.predicate](claim, evidence)


def _name(names: tuple[str, ...]) -> str:
    return " and ".join(names)


def _place(where: tuple[str, ...]) -> str:
    return "the scene" if not where else "the " + " and ".join(where)


def _share(claim: Claim, evidence: Evidence) -> str | None:
    found = evidence.share(claim.about, claim.where)
    if found is None:
        return f"the facts hold no shares of {_place(claim.where)}"
    if found[0] + _EXACT < claim.low or found[1] - _EXACT > claim.high:
        return _told(claim, found)
    return None


def _told(claim: Claim, found: Span) -> str:
    said = f"{found[0]:g}" if found[0] == found[1] else f"{found[0]:g} to {found[1]:g}"
    return f"{claim.words!r}: the facts have {_name(claim.about)} on {said} percent of {_place(claim.where)}"


def _presence(claim: Claim, evidence: Evidence) -> str | None:
    for part in claim.where or ("",):
        listed = evidence.listed(part)
        if listed is None:
            return f"the facts hold no shares of {_place(claim.where)}"
        if any(s.name in claim.about for s in listed):
            return None
    return f"{claim.words!r}: {_name(claim.about)} is not among the facts of {_place(claim.where)}"


def _absence(claim: Claim, evidence: Evidence) -> str | None:
    found = evidence.share(claim.about, claim.where)
    if found is None:
        return f"the facts hold no shares of {_place(claim.where)}"
    asked = "water" in claim.about and not claim.where
    watery = evidence.count(("lake", "pond", "reservoir", "river", "stream", "canal")) if asked else 0
    anywhere = any(s.name in claim.about for part in evidence.facts.regions.values() for s in part)
    if found[0] > 0 or found[1] > 1.0 or watery or (not claim.where and anywhere):
        return _told(claim, found)
    return None


def _rank(claim: Claim, evidence: Evidence) -> str | None:
    """Rank 1 = the largest; -1 = the smallest that the facts list. Equal shares share their ranks."""
    shares = _all_shares(evidence, claim.where)
    if not shares:
        return f"the facts hold no shares of {_place(claim.where)}"
    mine = evidence.share(claim.about, claim.where)
    if mine is None or not any(name in shares for name in claim.about):
        return f"{claim.words!r}: {_name(claim.about)} is not among the facts of {_place(claim.where)}"
    others = [v for name, v in shares.items() if name not in claim.about]
    if claim.low < 0:
        others = [-v for v in others]
    value = mine[0] if claim.low > 0 else -mine[0]
    ahead, level = sum(v > value + _EXACT for v in others), sum(abs(v - value) <= _EXACT for v in others)
    if claim.low < 0 and claim.where and len(shares) >= _LISTED:
        return f"{claim.words!r}: the facts leave out the smallest land covers of {_place(claim.where)}"
    if ahead + 1 <= abs(claim.low) <= ahead + 1 + level:
        return None
    return f"{claim.words!r}: {_name(claim.about)} has rank {ahead + 1} in {_place(claim.where)}"


def _rank_within(claim: Claim, evidence: Evidence) -> str | None:
    """At most `low` land covers are as large: 'trees and crops dominate' is true of the first two."""
    shares = _all_shares(evidence, claim.where)
    mine = [v for n, v in shares.items() if n in claim.about]
    if mine and sum(v > max(mine) + _EXACT for n, v in shares.items() if n not in claim.about) < claim.low:
        return None
    return f"{claim.words!r}: {_name(claim.about)} is not among the first {claim.low:g} of {_place(claim.where)}"


def _mixed(claim: Claim, evidence: Evidence) -> str | None:
    """The largest land cover holds at most `high` percent."""
    largest = max(_all_shares(evidence, claim.where).values(), default=100.0)
    return None if largest <= claim.high else f"{claim.words!r}: one land cover holds {largest:g} percent"


def _number(claim: Claim, evidence: Evidence) -> str | None:
    """`low` land covers are listed; with `against`, those whose share lies between its two numbers are counted."""
    shares = _all_shares(evidence, claim.where)
    if not shares:
        return f"the facts hold no shares of {_place(claim.where)}"
    low, high = (float(v) for v in claim.against) if claim.against else (0.0, EVERYTHING)
    found = sum(low - _EXACT <= v <= high + _EXACT for v in shares.values())
    return None if claim.low <= found <= claim.high else f"{claim.words!r}: the facts count {found}"


def _not_first(claim: Claim, evidence: Evidence) -> str | None:
    first = _rank(Claim("rank", claim.about, claim.where, 1.0), evidence)
    return None if first is not None else f"{claim.words!r}: {_name(claim.about)} leads in {_place(claim.where)} too"


def _in_parts(claim: Claim, evidence: Evidence) -> str | None:
    """Number of quarters (of all parts, where the text says 'parts') in which `about` is, or leads."""
    rule = _rank if claim.against == ("lead",) else _presence
    held = [r for r in REGIONS if rule(Claim("rank", claim.about, (r,), 1.0), evidence) is None]
    counts = {sum(r != "middle" for r in held), *([len(held)] if "parts" in claim.words.split() else [])}
    if any(claim.low <= n <= claim.high for n in counts):
        return None
    return f"{claim.words!r}: it does so in {_name(tuple(held)) or 'none of them'}"


def _part(claim: Claim, evidence: Evidence) -> str | None:
    """Percent of all that is covered by `about` that lies in `where`: a half holds half of the scene, a quarter one."""
    here, all_of_it = evidence.share(claim.about, claim.where), evidence.share(claim.about, ())
    if here is None or all_of_it is None or all_of_it[0] <= 0:
        return f"the facts hold no shares of {_place(claim.where)}"
    weight = len(claim.where) / 4.0
    value = min(100.0, 100.0 * weight * here[0] / all_of_it[0])
    return (
        None if claim.low <= value <= claim.high else f"{claim.words!r}: the facts have {value:.0f} percent of it there"
    )


def _all_shares(evidence: Evidence, where: tuple[str, ...]) -> dict[str, float]:
    names = {s.name: 0 for part in where or ("",) for s in evidence.listed(part) or ()}
    return {n: s[0] for n in names if (s := evidence.share((n,), where)) is not None}


def _comparison(claim: Claim, evidence: Evidence) -> str | None:
    """Ratio of the shares of `about` in `where` and of `against` in `against_where`."""
    mine = evidence.share(claim.about, claim.where)
    other = evidence.share(claim.against or claim.about, claim.against_where)
    if mine is None or other is None:
        return "the facts hold no shares of one of the parts that are compared"
    low, high = mine[0] / max(other[1], 0.1), mine[1] / max(other[0], 0.1)
    if mine[1] <= 0 and other[1] <= 0:
        low = high = 1.0
    if low + _EXACT < claim.low or high - _EXACT > claim.high:
        told = f"{_name(claim.about)} on {mine[0]:g} percent of {_place(claim.where)}"
        return f"{claim.words!r}: the facts have {told} against {other[0]:g} percent"
    return None


def _order(claim: Claim, evidence: Evidence) -> str | None:
    """The classes of `about` in descending order of their shares (`low` > 0) or ascending."""
    shares = [evidence.share((name,), claim.where) for name in claim.about]
    values = [s[0] for s in shares if s is not None]
    listed = {s.name for part in claim.where or ("",) for s in evidence.listed(part) or ()}
    if len(values) < len(claim.about) or not listed.issuperset(claim.about):
        return f"{claim.words!r}: the facts do not list all of them in {_place(claim.where)}"
    pairs = list(pairwise(values if claim.low > 0 else values[::-1]))
    if all(a >= b for a, b in pairs):
        return None
    return f"{claim.words!r}: the facts have them in another order"


def _names_parts(claim: Claim) -> bool:
    """Whether the middle is compared too: it overlaps the quarters, which are compared with one another otherwise."""
    return "middle" in claim.where or "part" in claim.words.split() or "parts" in claim.words.split()


def _extreme(claim: Claim, evidence: Evidence) -> str | None:
    """`where` holds the largest (`low` > 0) or smallest share of `about` among the parts of the scene."""
    mine = evidence.share(claim.about, claim.where)
    quarters = [(r,) for r in REGIONS if r in evidence.facts.regions and (r != "middle" or _names_parts(claim))]
    rivals: list[tuple[str, ...]] = list(quarters) if len(claim.where) == 1 else list(HALVES)
    others = [evidence.share(claim.about, part) for part in rivals if part != claim.where]
    if mine is None or not others or any(o is None for o in others):
        return f"the facts hold no shares to compare {_place(claim.where)} with"
    known = [o for o in others if o is not None]
    fine = all(mine[0] >= o[1] for o in known) if claim.low > 0 else all(mine[1] <= o[0] for o in known)
    return None if fine and (claim.low < 0 or mine[0] > 0) else _told(claim, mine)


HALVES = (
    ("top left", "top right"), ("bottom left", "bottom right"), ("top left", "bottom left"),
    ("top right", "bottom right"),
)  # fmt: skip
"""Top, bottom, left, right."""


def _count(claim: Claim, evidence: Evidence) -> str | None:
    found = evidence.count(claim.about)
    if found is None:
        return f"{claim.words!r}: the facts hold no map"
    if claim.where:
        return f"{claim.words!r}: the facts do not say where map objects are"
    if claim.low - _EXACT <= found <= claim.high + _EXACT:
        return None
    return f"{claim.words!r}: the facts count {found}"


def _more_objects(claim: Claim, evidence: Evidence) -> str | None:
    """Ratio of the numbers of two kinds of map objects; without `against`, no kind is more frequent."""
    mine = evidence.count(claim.about)
    rivals = claim.against or tuple(kind for kind, _ in evidence.facts.objects if kind not in claim.about)
    others = [evidence.count((kind,)) or 0 for kind in rivals]
    if mine is None or not mine or (claim.against and not all(others)):
        return f"{claim.words!r}: the facts do not count both"
    if all(claim.low - _EXACT <= mine / max(other, 1) <= claim.high for other in others):
        return None
    return f"{claim.words!r}: the facts count {mine} against {max(others)}"


def _only_objects(claim: Claim, evidence: Evidence) -> str | None:
    others = [kind for kind, n in evidence.facts.objects if n and kind not in claim.about]
    return f"{claim.words!r}: the facts count {others[0]} too" if others else None


_CHARACTER = 30.0
"""Percent from which the largest land cover may give a scene its name: 'an agricultural landscape'."""


def _character(claim: Claim, evidence: Evidence) -> str | None:
    """More than half of the scene, or the largest land cover of it."""
    found = evidence.share(claim.about, claim.where)
    if found is None:
        return f"the facts hold no shares of {_place(claim.where)}"
    first = _rank(Claim("rank", claim.about, claim.where, 1.0), evidence) is None
    return None if found[0] >= 50.0 or (first and found[0] >= _CHARACTER) else _told(claim, found)


def _of_parts(claim: Claim, evidence: Evidence) -> str | None:
    """The least or the largest share among several parts lies in the span."""
    shares = [evidence.share(claim.about, (part,)) for part in claim.where]
    known = [s for s in shares if s is not None]
    if len(known) < len(shares):
        return f"the facts hold no shares of {_place(claim.where)}"
    pick = min if claim.predicate == "least of parts" else max
    found = (pick(s[0] for s in known), pick(s[1] for s in known))
    fits = claim.low - _EXACT <= found[0] and found[1] <= claim.high + _EXACT
    return None if fits else _told(claim, found)


def _quantity(claim: Claim, evidence: Evidence) -> str | None:
    """Lengths, areas, heights, slopes: one field of the facts, or several that all have to fit."""
    values = [FIELDS[field](evidence.facts) for field in claim.about]
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return f"{claim.words!r}: the facts do not contain that"
    if any(claim.low - _EXACT <= v <= claim.high + _EXACT for v in known):
        return None
    return f"{claim.words!r}: the facts have {' or '.join(f'{v:g}' for v in known)}"


def _range(facts: FactsOf) -> float | None:
    if facts.elevation_max_m is None or facts.elevation_min_m is None:
        return None
    return facts.elevation_max_m - facts.elevation_min_m


FIELDS: dict[str, Callable[[FactsOf], float | None]] = {
    "elevation_min_m": lambda f: f.elevation_min_m,
    "elevation_max_m": lambda f: f.elevation_max_m,
    "elevation_range_m": _range,
    "slope_mean_deg": lambda f: f.slope_mean_deg,
    "road_length_m": lambda f: f.road_length_m,
    "size_m": lambda f: f.size_m or None,
    "area_m2": lambda f: f.size_m**2 or None,
    "month": lambda f: f.month,
    "year": lambda f: f.year,
}
"""Name of a quantity -> its value in the facts: metres, square metres, degrees."""


def _word(field: str) -> Callable[[Claim, Evidence], str | None]:
    def rule(claim: Claim, evidence: Evidence) -> str | None:
        found = getattr(evidence.facts, field)
        return None if found in claim.against else f"{claim.words!r}: the facts say {found or 'nothing about it'}"

    return rule


def _place_words(claim: Claim, evidence: Evidence) -> str | None:
    """Each word of the claim is one of the facts': 'the mid-latitudes' is true of 'northern mid-latitudes'."""
    found = evidence.facts.place or ""
    said = claim.against[0]
    latitude = "hemisphere" if said in ("northern", "southern") else said
    fits = said == found or (latitude != "tropics" and found.endswith(f" {said}"))
    fits = fits or (latitude == "hemisphere" and found.startswith(said))
    return None if fits else f"{claim.words!r}: the facts say {found or 'nothing about it'}"


def _season_part(claim: Claim, evidence: Evidence) -> str | None:
    """'mid-spring': the month is the n-th of its meteorological season (`low`)."""
    if evidence.facts.season not in claim.against or evidence.facts.month is None:
        return f"{claim.words!r}: the facts say {evidence.facts.season or 'nothing about it'}"
    nth = evidence.facts.month % 3 + 1  # December, March, June, September begin
    return None if nth == claim.low else f"{claim.words!r}: the facts say {MONTHS[evidence.facts.month - 1]}"


def _rest(claim: Claim, evidence: Evidence) -> str | None:
    """`about` is there and takes `low` to `high` percent of what `against` leaves."""
    taken, mine = evidence.share(claim.against, claim.where), evidence.share(claim.about, claim.where)
    if taken is None or mine is None:
        return f"the facts hold no shares of {_place(claim.where)}"
    if mine[1] <= 0:
        return f"{claim.words!r}: the facts have no {_name(claim.about)} in {_place(claim.where)}"
    left = 100.0 - taken[0]
    share = 100.0 * mine[0] / left if left > 0 else 0.0
    slack = 100.0 * 2.0 / max(left, 2.0)
    if claim.low - slack <= share <= claim.high + slack:
        return None
    return f"{claim.words!r}: the facts have {_name(claim.about)} on {mine[0]:g} of the {left:g} percent left"


_OF_PREDICATE = {
    "count": ("map",), "more objects": ("map",), "only objects": ("map",), "relief": ("ground",), "season": ("image",),
    "season part": ("image",), "time": ("image",), "place": ("place",), "area": ("place",), "height": ("ground",),
    "slope": ("ground",),
}  # fmt: skip


def sources_of(claim: Claim, where: Mapping[str, str]) -> list[str]:
    """Arrays and tables that prove a claim.

    Args:
        claim: which.
        where: 'cover', 'ground', 'map', 'image' or 'place' -> array or table of the dataset ('worldcover/classes',
            'dem/elevation', 'openstreetmap/vectors', 'sentinel2/datetimes/0', 'catalogue').
    """
    roles: tuple[str, ...] = _OF_PREDICATE.get(claim.predicate, ("cover",))
    if claim.predicate == "length":
        roles = ("map",) if "road_length_m" in claim.about else ("place",)
    if claim.predicate == "absence" and "water" in claim.about and not claim.where:
        roles = ("cover", "map")  # no lake or river is mapped either
    return [where[role] for role in roles if role in where]


def about_of(captions: Sequence[str], predicate: str | None = None) -> set[str]:
    """What the claims of some captions speak of.

    Args:
        captions: their claims as a dataset stores them, JSON; '' = none.
        predicate: of claims of this kind alone; None: of all.
    """
    claims = [claim for text in captions if text for claim in json.loads(text)]
    return {name for c in claims if predicate in (None, c.get("predicate")) for key in ("about", "against")
            for name in c.get(key, ()) if key == "about" or c.get("predicate") in _AGAINST_THINGS}  # fmt: skip


_AGAINST_THINGS = ("comparison", "rest", "more objects")
"""Predicates whose `against` names land covers or map objects."""
EXECUTE: dict[str, Callable[[Claim, Evidence], str | None]] = {
    "share": _share,
    "presence": _presence,
    "absence": _absence,
    "rank": _rank,
    "rank within": _rank_within,
    "not first": _not_first,
    "mixed": _mixed,
    "number": _number,
    "part": _part,
    "in parts": _in_parts,
    "comparison": _comparison,
    "order": _order,
    "extreme": _extreme,
    "count": _count,
    "more objects": _more_objects,
    "least of parts": _of_parts,
    "most of parts": _of_parts,
    "only objects": _only_objects,
    "character": _character,
    "length": _quantity,
    "area": _quantity,
    "height": _quantity,
    "slope": _quantity,
    "time": _quantity,
    "relief": _word("relief"),
    "season": _word("season"),
    "season part": _season_part,
    "place": _place_words,
    "rest": _rest,
}
"""Predicate -> how it is executed."""
