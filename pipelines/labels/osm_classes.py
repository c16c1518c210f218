"""Legend for OpenStreetMap: the tags of each class, and the drawn width of lines."""

from __future__ import annotations

from pipelines.crosswalks import open_shipped

LEGEND = open_shipped("openstreetmap@1").legend
"""0 = the map says nothing about the ground here: unmapped, which is never 'no class'. The sea is unmapped too: it has
a coastline and no area. Parks, pitches and gardens are 'Urban green', grass and trees mixed."""

CODE = {c.name: c.code for c in LEGEND.classes}
"""Class name -> code."""

_ANY = frozenset({"*"})


def _values(text: str) -> frozenset[str]:
    return frozenset(text.split())


AREA_RULES: tuple[tuple[str, frozenset[str], str], ...] = (
    ("building", _ANY, "Building"),
    ("natural", _values("water bay strait"), "Water"),
    ("water", _ANY, "Water"),
    ("waterway", _values("riverbank dock"), "Water"),
    ("landuse", _values("reservoir basin salt_pond aquaculture"), "Water"),
    ("natural", _values("wetland"), "Wetland"),
    ("natural", _values("glacier"), "Snow and ice"),
    ("natural", _values("wood tree_group"), "Trees"),
    ("landuse", _values("forest"), "Trees"),
    ("landcover", _values("trees"), "Trees"),
    ("natural", _values("scrub heath shrubbery"), "Shrub"),
    ("landcover", _values("scrub bushes"), "Shrub"),
    ("natural", _values("grassland fell"), "Grass"),
    ("landuse", _values("grass meadow flowerbed"), "Grass"),
    ("landcover", _values("grass"), "Grass"),
    ("landuse", _values("farmland farm orchard vineyard allotments greenhouse_horticulture plant_nursery"), "Crops"),
    ("natural", _values("bare_rock rock sand scree shingle beach dune mud blockfield"), "Bare ground"),
    ("landuse", _values("quarry landfill"), "Bare ground"),
    ("leisure", _values("park garden pitch golf_course playground common dog_park"), "Urban green"),
    ("landuse", _values("recreation_ground village_green cemetery"), "Urban green"),
    ("highway", _values("pedestrian footway service rest_area services"), "Paved area"),
    ("amenity", _values("parking marketplace fuel"), "Paved area"),
    ("aeroway", _values("apron runway helipad taxiway"), "Paved area"),
    (
        "landuse",
        _values("industrial commercial retail garages railway port depot farmyard"),
        "Industrial or commercial area",
    ),
    ("power", _values("plant substation"), "Industrial or commercial area"),
    ("landuse", _values("residential"), "Residential area"),
)
"""(key, values, class) for areas: the first rule that fits decides; '*' is any value but 'no'."""

_RULES_OF = {
    key: tuple((place, values) for place, (one, values, _) in enumerate(AREA_RULES) if one == key)
    for key in dict.fromkeys(key for key, _, _ in AREA_RULES)
}
"""Key -> (place in AREA_RULES, values) of its rules."""
LINE_RULES: tuple[tuple[str, frozenset[str], str, float], ...] = (
    ("highway", _values("motorway"), "Major road", 12.0),
    ("highway", _values("trunk"), "Major road", 11.0),
    ("highway", _values("primary"), "Major road", 9.0),
    ("highway", _values("secondary"), "Major road", 8.0),
    ("highway", _values("motorway_link trunk_link primary_link secondary_link"), "Major road", 6.0),
    ("highway", _values("tertiary tertiary_link"), "Minor road", 7.0),
    ("highway", _values("unclassified residential road living_street pedestrian"), "Minor road", 6.0),
    ("highway", _values("service"), "Minor road", 4.0),
    ("highway", _values("track"), "Minor road", 3.0),
    ("railway", _values("rail"), "Railway", 6.0),
    ("railway", _values("light_rail narrow_gauge tram funicular monorail"), "Railway", 4.0),
    ("waterway", _values("river"), "Water", 15.0),
    ("waterway", _values("canal"), "Water", 10.0),
    ("waterway", _values("stream"), "Water", 3.0),
    ("waterway", _values("ditch drain"), "Water", 2.0),
)
"""(key, values, class, width in metres) for lines. Widths are of one mapped way (dual carriageways are two ways): lanes
of 3.5 m as OpenStreetMap's editors assume, with shoulders on motorways; waterways after
https://wiki.openstreetmap.org/wiki/Key:waterway. Footpaths are below every pixel and are not drawn."""

PAINT_ORDER = ("Water", "Minor road", "Major road", "Railway", "Building")
"""Lines and buildings go over the land-cover areas in this order, the last on top. Areas themselves go largest first,
so that a clearing in a wood, or a pond in a park, stays visible."""


def class_of_area(tags: dict[str, str]) -> str | None:
    """Class of an area with these tags; None = it says nothing about what covers the ground."""
    if _underground(tags):
        return None
    fitting = (
        place
        for key in _RULES_OF.keys() & tags.keys()
        if (value := tags[key]) != "no"
        for place, values in _RULES_OF[key]
        if values is _ANY or value in values
    )
    first = min(fitting, default=None)
    return None if first is None else AREA_RULES[first][2]


def class_of_line(tags: dict[str, str]) -> tuple[str, float] | None:
    """Class and width in metres of a line with these tags; None = it is not drawn."""
    if _underground(tags):
        return None
    for key, values, name, width_m in LINE_RULES:
        if tags.get(key) in values:
            return name, width_m
    return None


def _underground(tags: dict[str, str]) -> bool:
    return tags.get("tunnel", "no") != "no" or tags.get("location") == "underground" or tags.get("covered") == "yes"
