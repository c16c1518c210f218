"""Vocabulary of captions and their checks: closed tables of land covers, map objects, regions, numbers."""

from __future__ import annotations

from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


REGIONS = ("top left", "top right", "bottom left", "bottom right", "middle")
"""The five regions of ChatEarthNet (zhu-xlab/ChatEarthNet, generate_description_chatgpt3_5_text.py), in its order."""

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip

CLASS_WORDS: dict[str, str] = {
    "water": "water|open water|waters|water body|water bodies|water surface|water surfaces",
    "trees": "trees|tree|tree cover|tree canopy|woodland|woodlands|wooded|woods|wood|forest|forests|forested|treed",
    "shrub": "shrub|shrubs|shrubland|shrublands|shrubby|scrub|scrubland|bush|bushes|bushland|shrub and scrub",
    "grass": "grass|grasses|grassland|grasslands|grassy|meadow|meadows|herbaceous cover",
    "crops": "crops|crop|cropland|croplands|cropped|farmland|farmlands|agricultural|agriculture|cultivated|cultivation|"
    "arable|farmed|farming",
    "built": "built|built-up|built up|built-up land|built-up areas|built-up area|urban area|urban areas|urban land|"
    "urban|settlement|settlements|settled|developed",
    "bare": "bare|bare or sparsely vegetated|bare or sparsely vegetated ground|bare land|sparsely vegetated|"
    "sparse vegetation|barren|bare soil|bare ground",
    "snow and ice": "snow and ice|snow|ice|snowy|icy|snow-covered|ice-covered",
    "wetland": "wetland|wetlands|marsh|marshes|marshland|marshy|flooded vegetation|herbaceous wetland",
    "moss and lichen": "moss and lichen|mosses and lichens|moss|mosses|mossy|lichen|lichens",
}
"""Class of the common taxonomy -> words that name it, separated by '|'."""

UNION_WORDS: dict[str, tuple[str, ...]] = {
    "vegetation": ("trees", "shrub", "grass", "crops", "wetland", "moss and lichen"),
    "vegetated": ("trees", "shrub", "grass", "crops", "wetland", "moss and lichen"),
    "plants": ("trees", "shrub", "grass", "crops", "wetland", "moss and lichen"),
}
"""Words that several classes support."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Words for a kind of map object."""

    one: str
    """With its article: 'a river'."""
    many: str
    """Plural noun."""
    counted: bool
    """True: an object on the map is a thing on the ground. False: roads, rivers and lines come in pieces."""
    words: str
    """Words that name it, separated by '|'."""
    also: tuple[str, ...] = ()
    """Classes that support the same words ('fields' may mean crops)."""


KINDS: dict[str, Kind] = {
    "building": Kind("a building", "buildings", True, "building|buildings"),
    "road": Kind("a road", "roads", False, "road|roads|street|streets|highway|highways|motorway|motorways"),
    "path": Kind("a path", "paths", False, "path|paths|footpath|footpaths|track|tracks|trail|trails"),
    "railway": Kind("a railway line", "railway lines", False, "railway|railways|railway line|railway lines|rail"),
    "river": Kind("a river", "river channels", False, "river|rivers"),
    "stream": Kind("a stream", "stream channels", False, "stream|streams|creek|creeks|brook|brooks"),
    "canal": Kind("a canal", "canal sections", False, "canal|canals"),
    "ditch": Kind("a ditch", "ditches", False, "ditch|ditches|drain|drains"),
    "lake": Kind("a lake", "lakes", True, "lake|lakes"),
    "pond": Kind("a pond", "ponds", True, "pond|ponds"),
    "reservoir": Kind("a reservoir", "reservoirs", True, "reservoir|reservoirs"),
    "dam": Kind("a dam", "dams", True, "dam|dams"),
    "field": Kind("a mapped field", "mapped fields", True, "field|fields", ("crops",)),
    "orchard": Kind("an orchard", "orchards", True, "orchard|orchards"),
    "vineyard": Kind("a vineyard", "vineyards", True, "vineyard|vineyards"),
    "park": Kind("a park", "parks", True, "park|parks"),
    "sports pitch": Kind("a sports pitch", "sports pitches", True, "pitch|pitches|sports pitch|sports pitches"),
    "golf course": Kind("a golf course", "golf courses", True, "golf course|golf courses"),
    "cemetery": Kind("a cemetery", "cemeteries", True, "cemetery|cemeteries|graveyard|graveyards"),
    "parking lot": Kind("a parking lot", "parking lots", True, "parking|parking lot|parking lots|car park|car parks"),
    "school": Kind("a school", "schools", True, "school|schools"),
    "hospital": Kind("a hospital", "hospitals", True, "hospital|hospitals"),
    "place of worship": Kind("a place of worship", "places of worship", True, "place of worship|places of worship"),
    "quarry": Kind("a quarry", "quarries", True, "quarry|quarries"),
    "beach": Kind("a beach", "beaches", True, "beach|beaches"),
    "runway": Kind("a runway", "runways", True, "runway|runways"),
    "marina": Kind("a marina", "marinas", True, "marina|marinas"),
    "power line": Kind("a power line", "power lines", False, "power line|power lines"),
    "wind turbine": Kind("a wind turbine", "wind turbines", True, "wind turbine|wind turbines"),
    "solar plant": Kind("a solar plant", "solar plants", True, "solar plant|solar plants|solar farm|solar farms"),
}
"""Every kind of map object that facts may name."""

WATER_KINDS = ("river", "stream", "canal", "ditch", "lake", "pond", "reservoir")
"""Kinds that also support the word 'water'."""

UNBORNE_WORDS = _words(
    """
    airport airports animal animals avalanche avalanches basin basins bay bays boat boats border borders bridge bridges
    burn burned burnt canyon canyons capital car cars castle castles cattle church churches city cities cliff cliffs
    cloud clouds cloudy coast coastal coastline coasts coniferous corn country crater craters crowd crowds deciduous
    deforestation delta desert deserts disaster district downtown drought dune dunes earthquake erosion estuary
    evergreen factories factory farm farmhouse farms fire fires fjord flood flooding floods fog forestry garden gardens
    glacier glaciers gorge grove groves gulf harbor harbors harbour harbours hamlet hamlets haze hedge hedges highland
    highlands historic historical house houses housing industrial industry inhabitants island islands jungle lagoon
    lava lawn lawns livestock logging maize mall mangrove mangroves metropolis metropolitan mine mines mining monsoon
    neighbourhood neighbourhoods neighborhood neighborhoods ocean oceans palm palms pasture pastures peat peninsula
    people person pine pines pipeline plantation plantations playground playgrounds pollution population port ports
    prairie prairies rain rainforest rainforests rainy ranch residential rice rock rocks rocky ruins rural sand sands
    sandy savanna savannah savannas sea seas sediment shade shadow shadows ship ships shore shoreline shores skyscraper
    skyscrapers smog smoke soy stadium stadiums station stations steppe storm suburb suburban suburbs sunny sunlight
    swamp swamps sunset taiga temple temples tower towers town towns townscape traffic tundra tunnel tunnels valley
    valleys vehicle vehicles village villages villas volcanic volcano volcanoes warehouse warehouses waterfall
    waterfalls weather wheat wildlife wildfire wildfires wind windy commercial plain plains plateau plateaus ridge
    ridges summit summits peak peaks edge edges corners outskirts periphery riparian tide tidal waves night morning
    evening noon dawn dusk today yesterday recent recently healthy unhealthy dense densely lush pristine fertile
    """
)
"""Things and judgements that no field of the facts can support: a mention of them is invented."""

COLOURS = _words(
    """
    amber azure beige black blue bluish brown brownish colour colours coloured color colors colored crimson cyan dark
    darker emerald gold golden gray grayish green greener greenery greenish grey greyish light-coloured maroon olive
    orange pink purple red reddish tan teal turquoise violet white whitish yellow yellowish hue hues tone tones
    """
)
"""Facts hold no colours (ChatEarthNet forbids them too)."""

BANNED = (
    r"possib\w+|likel\w+|perhaps|context\w*|segmentation\w*|appear\w*|chang\w+|transition\w*|dynamic\w*|maybe|probab\w+|"
    r"presumabl\w+|seem\w*|suggest\w*|might|could|would|should|potential\w*|hint\w*|indicat\w+|imply|implies|assum\w+|"
    r"approximat\w+|estimat\w+|unclear|uncertain\w*|unknown"
)
"""Hedges: ChatEarthNet's banned words (recipe in its generate_description_*.py) and their kin."""

ABSENT = (
    r"no|not|none|without|absent|absence|lack\w*|devoid|missing|nothing|neither|nor|never|nowhere|except\w*|cannot|"
    r"isn|aren|doesn|don|free of|rather than|instead of|unlike"
)
"""Words that speak of what is not there."""

ECHOES = (
    r"json|fact|facts|caption\w*|prompt\w*|instruct\w*|ignor\w*|previous|system|user|assistant|language model|model|ai|"
    r"data|dataset|schema|sorry|apolog\w*|certainly|here is|here are|as requested|i|i'm|we|you|your|my|our|please|"
    r"description|describe[sd]?|label\w*|class|classes|classified|classification|taxonomy|worldcover|dynamicworld"
)
"""Words of the conversation and not of the scene."""

FUNCTION_WORDS = _words(
    """
    the a an of and in is are on with while to by at its it from as this which that for into over lies lie has have
    holds hold covers cover between or both each more than most about across part through where
    """
)
"""Commonest English words, for telling English."""

STARTERS = _words(
    """
    the a an this these those that it its they their in on at of from over across along around among within
    throughout through between toward towards with while whereas where which as to for by and but also both each every
    all most much some many several few hundreds thousands dozens
    more less about roughly nearly almost just only here there elsewhere overall
    together meanwhile beyond below above beside besides next further smaller larger small large
    seen set spread mapped dominated dominating covering covered measuring located situated stretching occupying
    surrounded surrounding bordering taken captured viewed photographed observed filling
    terrain relief elevation elevations altitude altitudes slopes slope ground land heights height scattered
    interspersed
    patches pockets mixed half nearly two three four five six seven eight nine ten
    """
)
"""Words that a sentence may begin with besides those that the tables name: a capital there says nothing."""

NUMBER_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "zero": 0,
}  # fmt: skip
"""Number words that are read as numbers; 'one' is left alone, it is a pronoun as often."""

FRACTIONS: tuple[tuple[str, float, float], ...] = (
    (r"less than (?:one|1) (?:percent|per cent)|under (?:one|1) (?:percent|per cent)|less than 1 ?%", 0.0, 1.0),
    (r"(?:nearly|almost|just under|close to|slightly less than) half(?: of)?", 42.0, 50.0),
    (r"(?:just over|slightly more than) half(?: of)?", 50.0, 60.0),
    (r"(?:more than|over) half(?: of)?", 50.0, 100.0),
    (r"(?:about|around|roughly )?half(?: of)?", 45.0, 55.0),
    (r"(?:about |around |roughly |nearly |almost )?(?:two[- ]thirds|2[- ]thirds)", 62.0, 71.0),
    (r"(?:about |around |roughly |nearly |almost )?(?:three|3)[- ]quarters", 70.0, 80.0),
    (r"(?:about |around |roughly |nearly |almost |over )?(?:a|one) third", 29.0, 37.0),
    (r"(?:about |around |roughly |nearly |almost |over )?(?:a|one) quarter", 21.0, 29.0),
    (r"(?:about |around |roughly |nearly |almost |over )?(?:a|one) fifth", 17.0, 23.0),
    (r"(?:about |around |roughly |nearly |almost |over )?(?:a|one) tenth", 7.0, 13.0),
    (r"almost entirely|nearly entirely|almost completely|nearly all|almost all|almost exclusively", 85.0, 100.0),
    (r"entirely|completely|wholly|exclusively|solely", 99.0, 100.0),
    (r"most of|(?:the )?majority", 50.0, 100.0),
    (r"traces?|sliver|slivers|tiny", 0.0, 5.0),
    (r"small|minor|little|minority", 0.0, 30.0),
    (r"large|extensive|vast|substantial|considerable|major", 20.0, 100.0),
)
"""(pattern, least percent, most percent) of words that speak of a share; tried in this order."""

TOP = r"dominat\w+|dominant|predomina\w+|prevail\w*|prevalent|main|mainly|most|mostly|majority|largely|largest|chiefly|"
TOP += r"primarily|primary|principal|principally|biggest|leading|leads?"
"""Words that say a land cover has the largest share."""

RELIEF_WORDS: dict[str, str] = {
    "flat": "flat", "rolling": "rolling", "undulating": "rolling", "hilly": "hilly", "hill": "hilly", "hills": "hilly",
    "mountainous": "mountainous", "mountain": "mountainous", "mountains": "mountainous", "alpine": "mountainous",
}  # fmt: skip
"""Word -> the relief that supports it."""

DEM_WORDS = _words("terrain relief elevation elevations altitude altitudes slope slopes steep steeply rugged")
"""Words that need an elevation model."""

STEEP_WORDS = frozenset({"steep", "steeply", "rugged"})
"""Words that need a mean slope of at least 10 degrees."""
