"""What the slots of the template's frames stand for, from the facts of a sample."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from landweave.facts import MONTHS
from pipelines.captions.wording import Noun, Slots
from pipelines.captions.words import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.wording import Chooser
    from schemas.caption import Facts

_NOUNS: dict[str, tuple[str, str]] = {
    "water": (
        "open water|water|surface water|standing water",
        "water bodies|bodies of water|water surfaces|water areas",
    ),
    "trees": (
        (
            "tree cover|woodland|forest|wooded land|forest cover|tree canopy|forested land|forest land|"
            "woodland cover|tree-covered land|forest vegetation|forest canopy|forested ground"
        ),
        (
            "trees|forests|woods|woodlands|wooded areas|forested areas|tree-covered areas|"
            "forest stands|tree stands|woodland areas"
        ),
    ),
    "shrub": (
        (
            "shrubland|scrub|scrubland|bushland|shrub cover|shrubby vegetation|bushy vegetation|"
            "shrubby land|scrubby land|shrub vegetation"
        ),
        "shrubs|bushes|shrublands",
    ),
    "grass": (
        "grassland|grass|grass cover|grassy land|grassland cover|grassy vegetation|herbaceous cover|grass vegetation",
        "grasslands|meadows|grasses|grassy areas",
    ),
    "crops": (
        (
            "cropland|farmland|arable land|cultivated land|agricultural land|crop cover|farmed land|"
            "cropped land|tilled land|land under cultivation|arable farmland|cropland cover"
        ),
        (
            "crops|croplands|crop fields|farmlands|farm fields|agricultural fields|arable fields|"
            "cropped fields|planted fields"
        ),
    ),
    "built": (
        (
            "built-up land|urban land|developed land|built-up ground|built environment|urban fabric|"
            "constructed land|urban development"
        ),
        (
            "built-up areas|settlements|urban areas|developed areas|artificial surfaces|"
            "built-up surfaces|urban surfaces|constructed surfaces"
        ),
    ),
    "bare": (
        (
            "bare ground|bare land|bare soil|barren land|sparsely vegetated ground|bare earth|"
            "exposed ground|barren ground|bare terrain|unvegetated ground|exposed soil|"
            "sparsely vegetated land|barren terrain"
        ),
        "bare surfaces|bare areas|barren areas",
    ),
    "snow and ice": (
        "snow and ice|ice and snow|snow and ice cover",
        "",
    ),
    "wetland": (
        "wetland|marshland|herbaceous wetland|marsh|wetland vegetation|marshy ground|marshy land|flooded vegetation",
        "wetlands|marshes|marshlands|herbaceous wetlands|wetland areas",
    ),
    "moss and lichen": (
        "moss and lichen|lichen and moss|moss and lichen cover",
        "mosses and lichens|lichens and mosses",
    ),
}
"""Class -> nouns in the singular, and in the plural."""
_FRACTIONS = (
    (50.0, "half"), (100 / 3, "a third"), (25.0, "a quarter"), (200 / 3, "two thirds"), (75.0, "three quarters"),
    (20.0, "a fifth"), (40.0, "two fifths"), (60.0, "three fifths"), (80.0, "four fifths"), (10.0, "a tenth"),
    (12.5, "an eighth"), (30.0, "three tenths"), (70.0, "seven tenths"), (90.0, "nine tenths"), (5.0, "a twentieth"),
    (100 / 6, "a sixth"),
)  # fmt: skip
_ABOUT = ("about", "roughly", "around", "approximately")
_REGIONS = {
    "top left": ("top left", "upper left", "north-west"),
    "top right": ("top right", "upper right", "north-east"),
    "bottom left": ("bottom left", "lower left", "south-west"),
    "bottom right": ("bottom right", "lower right", "south-east"),
    "middle": ("middle", "centre"),
}
"""Part of the scene, whose top is north -> words for it."""
_TIMES = ((2, "twice"), (3, "three times"), (4, "four times"), (5, "five times"))
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MOST_KINDS = 4
"""Kinds of map objects that one sentence names."""


def slots_of(topic: str, facts: Facts, chooser: Chooser, question: str) -> Slots:
    """The slots that the facts can fill in frames of a topic, worded by the seed and the question."""
    slots = Slots()
    if topic in ("cover", "next", "rest"):
        _covers(slots, facts, chooser, question)
    if topic == "where":
        _regions(slots, facts, chooser, question)
    if topic in ("map", "road"):
        _objects(slots, facts)
    if topic in ("ground", "slope"):
        _ground(slots, facts)
    if topic in ("cover", "time", "place"):
        _when(slots, facts)
    return slots


def _noun(slots: Slots, name: str, cover: str, chooser: Chooser, question: str) -> None:
    one, every = _nouns(cover)
    slots.nouns[name] = chooser.pick(f"{question}/noun {cover}", every)
    slots.nouns[f"{name}1"] = chooser.pick(f"{question}/one {cover}", one)


@cache
def _nouns(cover: str) -> tuple[tuple[Noun, ...], tuple[Noun, ...]]:
    """Nouns of a land cover in the singular, and all of them."""
    singular, plural = _NOUNS[cover]
    one = tuple(Noun(text, plural=False) for text in singular.split("|"))
    return one, one + tuple(Noun(text, plural=True) for text in plural.split("|") if text)


def amount(percent: int, chooser: Chooser, question: str) -> str:
    """'32 percent', 'about a third', 'just over three tenths', 'nearly a third'."""
    return chooser.pick(question, _amounts(percent))


@cache
def _amounts(percent: int) -> tuple[str, ...]:
    worded = [w for value, name in _FRACTIONS for w in _near(percent, value, name)]
    exact = "less than one percent" if percent == 0 else f"{percent} percent"
    return (exact, exact, *worded)


def _near(percent: int, value: float, name: str) -> list[str]:
    off = percent - value
    if abs(off) <= 0.5:
        return [name, f"about {name}"]
    hedges = (
        ("just over", "a little over", "slightly over")
        if off > 0
        else ("nearly", "just under", "almost", "slightly under")
    )
    if abs(off) <= min(2.5, 0.08 * value):
        return [f"{hedge} {name}" for hedge in (*_ABOUT, *hedges)]
    return []


def _covers(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    shares = [s for s in facts.overall if s.percent >= 1]
    for name, share in zip("ABCD", shares, strict=False):
        _noun(slots, name, share.name, chooser, question)
        slots.texts[name.lower()] = amount(share.percent, chooser, f"{question}/{name}")
    if len(shares) > 2:
        _noun(slots, "Z", shares[-1].name, chooser, question)
        slots.texts["z"] = f"{shares[-1].percent} percent"
    for name, pair in (("ab", shares[:2]), ("bc", shares[1:3])):
        if len(pair) == 2:
            slots.texts[name] = amount(pair[0].percent + pair[1].percent, chooser, f"{question}/{name}")
    if len(shares) > 1:
        ratio = shares[0].percent / shares[1].percent
        for value, word in _TIMES:
            if abs(ratio - value) <= 0.05 * value:
                slots.texts["times"] = word


def _regions(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    told = [(name, shares) for name, shares in facts.regions.items() if shares]
    if len(told) < 2:
        return
    region, shares = chooser.pick(f"{question}/region", told)
    named = {name: chooser.pick(f"{question}/{name}", words) for name, words in _REGIONS.items()}
    top = shares[0]
    slots.texts.update({"region": named[region], "p": amount(top.percent, chooser, f"{question}/p")})
    _noun(slots, "P", top.name, chooser, question)
    if len(shares) > 1:
        _noun(slots, "Q", shares[1].name, chooser, question)
        slots.texts["q"] = f"{shares[1].percent} percent"
    found = sorted((s.percent, name) for name, listed in told for s in listed if s.name == top.name)
    others = [(percent, name) for percent, name in found if name != region]
    if others:
        percent, name = chooser.pick(f"{question}/region2", others)
        slots.texts.update({"region2": named[name], "p2": f"{percent} percent"})
    if len(found) > 1 and found[-1][0] > found[-2][0]:
        slots.texts.update({"most": named[found[-1][1]], "m": f"{found[-1][0]} percent"})
        slots.texts.update({"least": named[found[0][1]], "l": f"{found[0][0]} percent"})
    absent = [s.name for s in facts.overall if s.percent >= 1 and all(s.name != r.name for r in shares)]
    if absent:
        _noun(slots, "N", chooser.pick(f"{question}/none", absent), chooser, question)
        slots.texts["none"] = named[region]


def _objects(slots: Slots, facts: Facts) -> None:
    kinds = [(kind, n) for kind, n in facts.objects if n and not (kind == "road" and facts.road_length_m)]
    if kinds:
        slots.texts["O"] = listed([_counted(kind, n) for kind, n in kinds[:_MOST_KINDS]])
    if len(kinds) > 1 and kinds[0][1] > kinds[1][1] and KINDS[kinds[0][0]].counted and KINDS[kinds[1][0]].counted:
        slots.texts.update({"o1": KINDS[kinds[0][0]].many, "o2": KINDS[kinds[1][0]].many})
    if facts.road_length_m:
        slots.texts.update({"L": length(facts.road_length_m), "L2": length(facts.road_length_m)})


def _ground(slots: Slots, facts: Facts) -> None:
    low, high = facts.elevation_min_m, facts.elevation_max_m
    if low is not None and high is not None and 0 <= low < high:
        slots.texts.update({"low": f"{low} m", "high": f"{high} m", "range": f"{high - low} m"})
    if facts.relief is not None:
        slots.texts["relief"] = facts.relief
    if facts.slope_mean_deg is not None:
        slots.texts["slope"] = f"{facts.slope_mean_deg:g} degrees"


def _when(slots: Slots, facts: Facts) -> None:
    if facts.size_m:
        slots.texts.update({"size": length(facts.size_m), "km2": f"{facts.size_m**2 / 1e6:.1f} square kilometres"})
    if facts.place is not None:
        slots.texts["place"] = facts.place
    if facts.month is None or facts.year is None:
        return
    month, year = MONTHS[facts.month - 1], str(facts.year)
    slots.texts.update({"month": month, "year": year, "when": f"{month} {year}", "when2": f"{month} {year}"})
    if facts.season not in (None, "tropics"):
        slots.texts["season"] = str(facts.season)
        slots.texts["when2"] = f"the {facts.season} of {year}"


def listed(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _counted(kind: str, count: int) -> str:
    words = KINDS[kind]
    if count == 1:
        return words.one
    if not words.counted:
        return words.many
    return f"{_COUNTS[count] if count < len(_COUNTS) else count} {words.many}"


def length(metres: int) -> str:
    """'960 m', '4.9 km'."""
    return f"{metres} m" if metres < 1000 else f"{metres / 1000:.1f}".removesuffix(".0") + " km"
