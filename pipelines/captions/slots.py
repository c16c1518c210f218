"""What the slots of the template's frames stand for, from the facts of a sample."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from landweave.claims import HALVES, VEGETATION, Evidence
from landweave.facts import MONTHS, REGIONS
from pipelines.captions.tokens.covers import WHOLE_MOSTLY
from pipelines.captions.wording import Noun, Slots
from pipelines.captions.words import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.wording import Chooser
    from schemas.caption import ClassShare, Facts

_NOUNS: dict[str, tuple[str, str]] = {
    "water": (
        "open water|water|surface water|standing water",
        "water bodies|bodies of water|water surfaces|water areas|open water surfaces",
    ),
    "trees": (
        (
            "tree cover|woodland|forest|wooded land|forest cover|tree canopy|forested land|forest land|"
            "woodland cover|tree-covered land|forestland|treed land|"
            "forest vegetation|forest canopy|forested ground"
        ),
        (
            "trees|forests|woods|woodlands|wooded areas|forested areas|tree-covered areas|"
            "forest stands|tree stands|woodland areas|tree canopies"
        ),
    ),
    "shrub": (
        (
            "shrubland|scrub|scrubland|bushland|shrub cover|shrubby vegetation|bushy vegetation|"
            "shrubby land|scrubby land|shrub vegetation|shrub and scrub|shrub growth|scrubby vegetation"
        ),
        "shrubs|bushes|shrublands",
    ),
    "grass": (
        (
            "grassland|grass|grass cover|grassy land|grassland cover|grassy vegetation|herbaceous cover|"
            "grass vegetation|grassed land"
        ),
        "grasslands|meadows|grasses|grassy areas",
    ),
    "crops": (
        (
            "cropland|farmland|arable land|cultivated land|agricultural land|crop cover|farmed land|"
            "cropped land|tilled land|land under cultivation|arable farmland|cropland cover|ploughland|agriculture"
        ),
        (
            "crops|croplands|crop fields|farmlands|farm fields|agricultural fields|arable fields|"
            "cropped fields|planted fields|crop parcels|agricultural parcels|field crops"
        ),
    ),
    "built": (
        (
            "built-up land|urban land|developed land|built-up ground|built environment|urban fabric|"
            "constructed land|urban development|settlement|built-up fabric"
        ),
        (
            "built-up areas|settlements|urban areas|developed areas|artificial surfaces|"
            "built-up surfaces|urban surfaces|constructed surfaces|sealed surfaces|impervious surfaces|built-up zones"
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
    (100 / 6, "a sixth"), (500 / 6, "five sixths"), (100 / 7, "a seventh"), (37.5, "three eighths"),
    (62.5, "five eighths"), (87.5, "seven eighths"), (100 / 9, "a ninth"), (25.0, "one in four"), (20.0, "one in five"),
    (10.0, "one in ten"), (90.0, "nine in ten"),
)  # fmt: skip
_ABOUT = ("about", "roughly", "around", "approximately", "some", "more or less")
_REGIONS = {
    "top left": ("top left", "upper left", "north-west", "northwest"),
    "top right": ("top right", "upper right", "north-east", "northeast"),
    "bottom left": ("bottom left", "lower left", "south-west", "southwest"),
    "bottom right": ("bottom right", "lower right", "south-east", "southeast"),
    "middle": ("middle", "centre"),
}
"""Part of the scene, whose top is north -> words for it."""
_CORNERS = {
    "top left": ("north-western corner", "upper left quadrant", "top left corner", "north-western quarter"),
    "top right": ("north-eastern corner", "upper right quadrant", "top right corner", "north-eastern quarter"),
    "bottom left": ("south-western corner", "lower left quadrant", "bottom left corner", "south-western quarter"),
    "bottom right": ("south-eastern corner", "lower right quadrant", "bottom right corner", "south-eastern quarter"),
    "middle": ("central part", "centre of the scene", "middle of the image", "central section"),
}
"""Part of the scene -> words with a noun."""
_HALF_WORDS = (
    ("northern half", "upper half", "top half"), ("southern half", "lower half", "bottom half"),
    ("western half", "left half", "left-hand half"), ("eastern half", "right half", "right-hand half"),
)  # fmt: skip
"""In the order of `landweave.claims.HALVES`."""
_ADJECTIVES = {
    "trees": ("wooded", "forested", "tree-covered"), "shrub": ("shrubby", "scrubby", "shrub-covered"),
    "grass": ("grassy", "grass-covered"),
    "crops": ("agricultural", "cultivated", "farmed", "arable", "tilled", "cropped"),
    "built": ("urban", "built-up", "developed", "urbanised", "settled"),
    "bare": ("barren", "sparsely vegetated", "unvegetated"), "snow and ice": ("snow-covered", "icy"),
}  # fmt: skip
"""Class -> adjectives."""
_GREEN = {
    "trees": ("forest", "woodland", "trees"), "grass": ("grass", "grassland"), "shrub": ("scrub", "shrubs"),
    "crops": ("crops", "farmland"), "snow and ice": ("snow and ice",), "wetland": ("wetland", "marsh"),
    "moss and lichen": ("moss and lichen",),
}  # fmt: skip
"""Land covers that may be said to blanket the ground -> nouns for it."""
_HILLS = {
    "flat": ("flat land", "level ground", "flat terrain", "level terrain", "flat country"),
    "rolling": ("rolling land", "undulating terrain", "rolling country", "undulating ground", "gently rolling terrain"),
    "hilly": ("hilly land", "hill country", "hilly terrain", "hilly ground"),
    "mountainous": ("mountainous terrain", "mountain country", "mountainous land"),
}
_PEAKS = {"mountainous": ("highest peak", "highest summit"), "hilly": ("highest hill",)}
_RELIEF_WORDS = {
    "flat": ("level", "flat and even", "flat-lying", "flat throughout"),
    "rolling": ("undulating", "gently rolling", "gently undulating", "softly rolling"),
    "hilly": ("hilly",), "mountainous": ("mountainous",),
}  # fmt: skip
_STEEP = (
    (3.0, ("very gentle", "slight", "gentle")), (7.5, ("gentle", "mild")), (10.0, ("moderate",)),
    (18.0, ("steep",)), (90.0, ("steep", "very steep")),
)  # fmt: skip
"""Mean slope up to this many degrees -> words that are true of it (`slope` of the lexicon)."""
_SEASON_PARTS = ("early ", "mid-", "late ")
_SEASONAL = {"spring": "springtime", "summer": "summertime", "autumn": "autumnal", "winter": "wintry"}
_ALSO_CALLED = {
    "path": ("footpath", "trail", "track"), "parking lot": ("car park",), "cemetery": ("graveyard",),
    "railway": ("rail line", "railway"), "power line": ("transmission line", "overhead power line"),
    "place of worship": ("house of worship",), "solar plant": ("solar farm",), "stream": ("creek", "brook"),
    "ditch": ("drainage ditch", "drain"), "sports pitch": ("playing field", "sports ground"),
    "building": ("structure",),
}  # fmt: skip
"""Kind of map object -> other names of it, in the singular."""
_TIMES = ((2, "twice"), (3, "three times"), (4, "four times"), (5, "five times"))
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MOST_KINDS = 4
"""Kinds of map objects that one sentence names."""


def slots_of(topic: str, facts: Facts, chooser: Chooser, question: str, wanted: frozenset[str] | None = None) -> Slots:
    """The slots that the facts can fill in frames of a topic, worded by the seed and the question.

    `wanted` (see `wording.slots_in`) leaves out what costs time and no frame asks for; None leaves out nothing.
    """
    slots = Slots()
    if topic in ("cover", "next", "rest"):
        _covers(slots, facts, chooser, question, wanted)
    if topic == "where":
        _regions(slots, facts, chooser, question, wanted)
    if topic in ("map", "road"):
        _objects(slots, facts, chooser, question)
    if topic in ("ground", "slope", "place", "time"):
        _ground(slots, facts, chooser, question)
    if topic in ("cover", "time", "place"):
        _when(slots, facts, chooser, question)
    return slots


def _asked(wanted: frozenset[str] | None, *names: str) -> bool:
    return wanted is None or not wanted.isdisjoint(names)


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
    if percent == 0:
        return ("less than one percent",)
    exact = f"{percent} percent"
    return (exact, exact, f"{in_words(percent)} percent", *worded)


_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")


def in_words(number: int) -> str:
    """0 to 999 in words: 'forty-two'; digits above."""
    if number < len(_COUNTS):
        return "zero" if number == 0 else _COUNTS[number]
    if number < 20:
        return _TEENS[number - len(_COUNTS)]
    if number > 99:
        left = number % 100
        rest = f" and {in_words(left)}" if left else ""
        return f"{_COUNTS[number // 100]} hundred{rest}" if number < 1000 else str(number)
    ten, one = _TENS[number // 10 - 2], number % 10
    return f"{ten}-{_COUNTS[one]}" if one else ten


def _near(percent: int, value: float, name: str) -> list[str]:
    off = percent - value
    if abs(off) <= 0.5:
        return [name, f"about {name}"]
    hedges = (
        (
            "just over",
            "a little over",
            "slightly over",
            "just above",
            "slightly above",
            "a little more than",
            "a touch over",
            "a shade over",
        )
        if off > 0
        else (
            "nearly",
            "just under",
            "almost",
            "close to",
            "slightly under",
            "not quite",
            "a little under",
            "just short of",
        )
    )
    if abs(off) <= min(2.5, 0.08 * value):
        about = tuple(h for h in _ABOUT if h != "some" or not name.startswith(("a ", "an ", "one ")))
        return [f"{hedge} {name}" for hedge in (*about, *hedges)]
    return []


def _covers(slots: Slots, facts: Facts, chooser: Chooser, question: str, wanted: frozenset[str] | None) -> None:
    shares = [s for s in facts.overall if s.percent >= 1]
    for name, share in zip("ABCD", shares, strict=False):
        if _asked(wanted, name, name.lower()):
            _noun(slots, name, share.name, chooser, question)
            slots.texts[name.lower()] = amount(share.percent, chooser, f"{question}/{name}")
            _in_other_words(slots, name, share, chooser, question)
    if len(shares) > 2 and len(shares) == len(facts.overall):
        _noun(slots, "Z", shares[-1].name, chooser, question)
        slots.texts["z"] = f"{shares[-1].percent} percent"
    if shares:
        _character(slots, shares, chooser, question)
    if shares and _asked(wanted, "X"):
        _absent(slots, facts, chooser, question)
    for name, pair in (("ab", shares[:2]), ("bc", shares[1:3])):
        if len(pair) == 2 and _asked(wanted, name):
            slots.texts[name] = amount(pair[0].percent + pair[1].percent, chooser, f"{question}/{name}")


_VAGUE = (
    (50, 101, ("most", "the greater part", "the bulk", "the majority", "the larger part")),
    (25, 50, ("a large part", "a sizeable share", "a considerable part", "a substantial share", "a good part",
              "a significant portion", "a good deal", "a notable share")),
    (1, 15, ("a small part", "a modest share", "a minor part", "a small fraction", "a limited part",
             "a small portion")),
    (1, 5, ("a tiny part", "a sliver", "a very small share", "a tiny fraction", "a trace", "a negligible part")),
)  # fmt: skip
"""Percent from, below, and the words for it (`amount` of the lexicon)."""


def _in_other_words(slots: Slots, name: str, share: ClassShare, chooser: Chooser, question: str) -> None:
    """'{Avague}' is its share in words alone, '{Aadj}' an adjective."""
    words = [w for low, high, words in _VAGUE if low <= share.percent < high for w in words]
    if words:
        slots.texts[f"{name}vague"] = chooser.pick(f"{question}/{name} vague", words)
    if share.name in _ADJECTIVES:
        slots.texts[f"{name}adj"] = chooser.pick(f"{question}/{name} adj", _ADJECTIVES[share.name])


def _character(slots: Slots, shares: Sequence[ClassShare], chooser: Chooser, question: str) -> None:
    """Adjectives of the largest land cover, and marks of frames that need a share or a ratio: they say nothing."""
    first = shares[0]
    if first.name in _GREEN:
        slots.texts["G"] = chooser.pick(f"{question}/green", _GREEN[first.name])
    if first.name in _ADJECTIVES and first.percent >= _CALLED_BY:
        slots.texts["adj"] = chooser.pick(f"{question}/adj", _ADJECTIVES[first.name])
    marks = {"half": first.percent >= 50}
    if len(shares) > 1:
        ratio, both = first.percent / shares[1].percent, first.percent + shares[1].percent
        marks |= {"far": ratio >= 3, "well": ratio >= 1.3, "bit": 1 < ratio <= 1.5, "over": ratio > 1}
        marks |= {"even": ratio <= 1.12, "pair": shares[1].percent >= 5 and both >= 50}
        slots.texts.update([("times", word) for value, word in _TIMES if abs(ratio - value) <= 0.05 * value])
    if len(shares) > 2:
        marks["minor"] = shares[2].percent <= 15
        marks["mixed"] = first.percent < WHOLE_MOSTLY
        marks["three"] = shares[2].percent >= 2 and sum(s.percent for s in shares[:3]) >= 60
    if len(shares) > 3:
        marks |= {"few": shares[3].percent <= 5, "little": shares[3].percent <= 15}
    part = {s.name: s.percent for s in shares}
    marks["rural"] = part.get("crops", 0) >= _FARMED and part.get("built", 0) <= _RURAL
    slots.texts.update({name: "" for name, holds in marks.items() if holds})
    plants = [s.percent for s in shares if s.name in VEGETATION]
    if len(plants) > 1 and sum(s.percent for s in shares) == _EVERYTHING_LISTED:
        slots.texts["veg"] = amount(sum(plants), chooser, f"{question}/veg")


_EVERYTHING_LISTED = 100
"""Percent of the land covers of a part from which none is left out."""
_FARMED, _RURAL = 20, 15
"""Least percent of crops and most of built-up land of a scene that is called rural."""
_CALLED_BY = 50
"""Percent from which a scene is called by its largest land cover."""


def _absent(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    """Two land covers of which the facts know nothing: X and Y."""
    listed = {s.name for shares in (facts.overall, *facts.regions.values()) for s in shares}
    none = [n for n in ("water", "crops", "built", "trees", "wetland", "shrub", "snow and ice") if n not in listed]
    if any(kind in _WATERY for kind, _ in facts.objects):
        none = [n for n in none if n != "water"]
    if len(none) > 1:
        first = chooser.pick(f"{question}/absent", none)
        second = chooser.pick(f"{question}/absent 2", [n for n in none if n != first])
        _noun(slots, "X", first, chooser, question)
        _noun(slots, "Y", second, chooser, question)


_WATERY = frozenset(("lake", "pond", "reservoir", "river", "stream", "canal"))


def _only(slots: Slots, facts: Facts, named: dict[str, str], chooser: Chooser, question: str) -> None:
    """A land cover that one quarter has and the others, whose lists are whole, have not."""
    quarters = {name: shares for name, shares in facts.regions.items() if name != "middle"}
    if len(quarters) < len(REGIONS) - 1:
        return
    whole = {n for n, shares in quarters.items() if sum(s.percent for s in shares) == _EVERYTHING_LISTED}
    for share in facts.overall:
        there = [n for n, shares in quarters.items() if any(s.name == share.name for s in shares)]
        if len(there) == 1 and whole | set(there) == set(quarters):
            _noun(slots, "K", share.name, chooser, question)
            slots.texts["only"] = named[there[0]]


def _halves(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    """A half of the scene and its largest land cover, where the facts list it in both quarters."""
    if any(name not in facts.regions for name in REGIONS):
        return
    number = chooser.pick(f"{question}/half", range(len(HALVES)))
    here, evidence = HALVES[number], Evidence(facts)
    found = {s.name: evidence.share((s.name,), here) for part in here for s in facts.regions[part]}
    known = sorted((span[0], name) for name, span in found.items() if span is not None and span[0] == span[1])
    if not known or len(known) < len(found):
        return
    percent, name = known[-1]
    _noun(slots, "H", name, chooser, question)
    slots.texts["h"] = amount(round(percent), chooser, f"{question}/h")
    slots.texts["half"] = chooser.pick(f"{question}/half words", _HALF_WORDS[number])
    if percent >= 51:
        slots.texts["halfmost"] = ""


def _regions(slots: Slots, facts: Facts, chooser: Chooser, question: str, wanted: frozenset[str] | None) -> None:
    told = [(name, shares) for name, shares in facts.regions.items() if shares]
    if len(told) < 2:
        return
    region, shares = chooser.pick(f"{question}/region", told)
    named = {name: chooser.pick(f"{question}/{name}", words) for name, words in _REGIONS.items()}
    top = shares[0]
    slots.texts["corner"] = chooser.pick(f"{question}/corner", _CORNERS[region])
    if _asked(wanted, "H"):
        _halves(slots, facts, chooser, question)
    slots.texts.update({"region": named[region], "p": amount(top.percent, chooser, f"{question}/p")})
    _noun(slots, "P", top.name, chooser, question)
    if top.name in _ADJECTIVES:
        slots.texts["Padj"] = chooser.pick(f"{question}/P adj", _ADJECTIVES[top.name])
    if top.percent > _CALLED_BY:
        slots.texts["maj"] = ""
    if len(shares) > 1:
        _noun(slots, "Q", shares[1].name, chooser, question)
        slots.texts["q"] = f"{shares[1].percent} percent"
    found = sorted((s.percent, name) for name, listed in told for s in listed if s.name == top.name)
    others = [(percent, name) for percent, name in found if name != region]
    if others:
        percent, name = chooser.pick(f"{question}/region2", others)
        slots.texts.update({"region2": named[name], "p2": f"{percent} percent"})
    if len(found) == len(REGIONS) and found[-1][0] > found[-2][0]:
        slots.texts.update({"most": named[found[-1][1]], "m": f"{found[-1][0]} percent"})
        slots.texts.update({"least": named[found[0][1]], "l": f"{found[0][0]} percent"})
    if _asked(wanted, "K"):
        _only(slots, facts, named, chooser, question)
    absent = [s.name for s in facts.overall if s.percent >= 1 and all(s.name != r.name for r in shares)]
    if absent and sum(s.percent for s in shares) == _EVERYTHING_LISTED:
        _noun(slots, "N", chooser.pick(f"{question}/none", absent), chooser, question)
        slots.texts["none"] = named[region]


def _objects(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    kinds = [(kind, n) for kind, n in facts.objects if n and not (kind == "road" and facts.road_length_m)]
    if kinds:
        slots.texts["O"] = listed([_counted(kind, n, chooser, question) for kind, n in kinds[:_MOST_KINDS]])
        many = [w for low, high, w in _MANY if low <= kinds[0][1] <= high]
        if many:
            slots.texts["Many"] = f"{chooser.pick(f'{question}/many', many)} {KINDS[kinds[0][0]].many}"
            if KINDS[kinds[0][0]].counted:
                slots.texts["counted"] = ""
    if len(kinds) > 1 and kinds[0][1] > kinds[1][1] and KINDS[kinds[0][0]].counted and KINDS[kinds[1][0]].counted:
        slots.texts.update({"o1": KINDS[kinds[0][0]].many, "o2": KINDS[kinds[1][0]].many})
        if kinds[0][1] >= 1.5 * kinds[1][1]:
            slots.texts["manymore"] = ""
    if facts.road_length_m:
        told = length(facts.road_length_m, chooser.pick(f"{question}/unit", _UNITS))
        slots.texts.update({"L": told, "L2": told})


_MANY = (
    (2, 2, "a pair of"), (2, 2, "a couple of"), (3, 9, "a handful of"), (3, 9, "a few"), (3, 60, "several"),
    (24, 130, "several dozen"), (24, 140, "dozens of"), (40, 400, "scores of"), (150, 2500, "hundreds of"),
    (12, 10**6, "many"), (1500, 10**6, "thousands of"), (12, 10**6, "numerous"), (3, 60, "a number of"),
)  # fmt: skip
"""Least and most objects -> words (`count` of the lexicon)."""
_UNITS = (("m", "km"), ("metres", "kilometres"))


def _ground(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    low, high = facts.elevation_min_m, facts.elevation_max_m
    metres = chooser.pick(f"{question}/unit", _UNITS)[0]
    if low is not None and high is not None and 0 <= low < high:
        told = {"low": low, "high": high, "range": high - low}
        slots.texts.update({name: f"{m} {metres.removesuffix('s') if m == 1 else metres}" for name, m in told.items()})
    if facts.relief is not None:
        slots.texts["relief"] = facts.relief
        slots.texts["relief2"] = chooser.pick(f"{question}/relief", _RELIEF_WORDS[facts.relief])
        if facts.relief in _PEAKS:
            slots.texts["peak"] = chooser.pick(f"{question}/peak", _PEAKS[facts.relief])
        slots.texts["hills"] = chooser.pick(f"{question}/hills", _HILLS[facts.relief])
    if facts.slope_mean_deg is not None:
        slope = facts.slope_mean_deg
        slots.texts["slope"] = f"{slope:g} degrees"
        words = next(words for most, words in _STEEP if slope <= most)
        slots.texts["steep"] = chooser.pick(f"{question}/steep", words)


def _when(slots: Slots, facts: Facts, chooser: Chooser, question: str) -> None:
    if facts.size_m:
        hectares, acres = round(facts.size_m**2 / 1e4), round(facts.size_m**2 / 4046.8564224)
        km2 = f"{facts.size_m**2 / 1e6:.1f} square kilometres"
        size = length(facts.size_m, chooser.pick(f"{question}/unit", _UNITS))
        slots.texts.update({"size": size, "km2": km2, "ha": f"{hectares:,} hectares", "acres": f"{acres:,} acres"})
    if facts.place is not None:
        slots.texts["place"] = facts.place
        if facts.place.startswith(("northern ", "southern ")):
            slots.texts["hemisphere"] = f"{facts.place.split()[0]} hemisphere"
    if facts.month is None or facts.year is None:
        return
    month, year = MONTHS[facts.month - 1], str(facts.year)
    slots.texts.update({"month": month, "year": year, "when": f"{month} {year}", "when2": f"{month} {year}"})
    if facts.season not in (None, "tropics"):
        slots.texts["season"] = str(facts.season)
        slots.texts["when2"] = f"the {facts.season} of {year}"
        slots.texts["part"] = _SEASON_PARTS[facts.month % 3] + str(facts.season)  # seasons begin in March, June ...
        slots.texts["seasonal"] = _SEASONAL[str(facts.season)]


def listed(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _counted(kind: str, count: int, chooser: Chooser, question: str) -> str:
    words = KINDS[kind]
    own = chooser.pick(f"{question}/{kind}", ("", "", *_ALSO_CALLED.get(kind, ())))
    one, many = (f"{'an' if own[0] in 'aeiou' else 'a'} {own}", _plural(own)) if own else (words.one, words.many)
    if count == 1:
        return one
    said = chooser.pick(
        f"{question}/number of {kind}", (in_words(count), str(count)) if count > 12 else (in_words(count),)
    )
    return f"{'a dozen' if count == 12 else said} {many}" if words.counted else many


def _plural(noun: str) -> str:
    if noun == "house of worship":
        return "houses of worship"
    return f"{noun}es" if noun.endswith("ch") else f"{noun}s"


def length(metres: int, units: tuple[str, str] = ("m", "km")) -> str:
    """'960 m', '4.9 km', or with the units in words."""
    if metres < 1000:
        return f"{metres} {units[0]}"
    told = f"{metres / 1000:.1f}".removesuffix(".0")
    return f"{told} {units[1].removesuffix('s') if told == '1' else units[1]}"
