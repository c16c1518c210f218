"""Documents for people and search engines that lie beside a dataset: a card, Croissant, a citation file.

README.md is a dataset card as the Hugging Face Hub reads it (https://huggingface.co/docs/hub/datasets-cards),
croissant.json follows https://docs.mlcommons.org/croissant/docs/croissant-spec.html (1.0), CITATION.cff
https://citation-file-format.github.io (1.2.0). They are made from the manifest alone, so the same dataset gives the
same bytes, and their checksums are in the manifest.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from landweave.layout import ITEMS, ROOT, ZARR
from landweave.licences import UNSTATED, conflicts
from landweave.plain import markdown, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from landweave.layout import ArraySpec, GroupSpec, Json
    from landweave.manifest import DatasetManifest

CARD, CROISSANT, CITATION = "README.md", "croissant.json", "CITATION.cff"
EDITED = (CARD, CITATION)
"""Files that who publishes a dataset may edit."""
HUB_LICENCES = frozenset(("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "odbl", "apache-2.0", "mit"))
"""Identifiers of https://huggingface.co/docs/hub/repositories-licenses that datasets of this kind have."""
TAGS = ("earth-observation", "remote-sensing", "multi-modal", "weak-labels")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_COLUMNS = (
    ("id", "sc:Text", "Sample id"),
    ("split", "sc:Text", "train, val or test"),
    ("lon", "sc:Float", "Longitude of the centre, degrees"),
    ("lat", "sc:Float", "Latitude of the centre, degrees"),
    ("epsg", "sc:Integer", "EPSG code of the footprint's grid"),
    ("x_min", "sc:Float", "Left edge of the footprint, metres in that CRS"),
    ("y_max", "sc:Float", "Upper edge of the footprint, metres in that CRS"),
    ("shard", "sc:Integer", "Shard of the sample"),
    ("row", "sc:Integer", "Row of the sample in its shard"),
)
"""Columns of every catalogue, their type in Croissant, and what they hold."""


def documents(manifest: DatasetManifest) -> dict[str, str]:
    """Path from the dataset's root -> text."""
    return {
        CARD: card(manifest),
        CROISSANT: json.dumps(croissant(manifest), indent=1, ensure_ascii=False) + "\n",
        CITATION: citation(manifest),
    }


def hub_head(licence: str, name: str, samples: int) -> Json:
    """The head that the Hub reads, without its files."""
    known = {"odbl-1.0": "odbl"}.get(licence.lower(), licence.lower())
    head: Json = {"license": known if known in HUB_LICENCES else "other"}
    if known not in HUB_LICENCES:
        head["license_name"] = licence
    head["pretty_name"] = name
    head["size_categories"] = [next((words for most, words in _SIZES if samples < most), "n>1T")]
    head["tags"] = list(TAGS)
    return head


def head_lines(head: Mapping[str, Any]) -> list[str]:
    """The head as lines. JSON is YAML, and quotes all text of a recipe; ASCII without the marks of HTML."""
    found = [json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e") for value in head.values()]
    return ["---", *(f"{key}: {value}" for key, value in zip(head, found, strict=True)), "---", ""]


def card(manifest: DatasetManifest) -> str:
    """README.md."""
    spec = manifest.spec
    head = hub_head(spec.licence, printable(spec.name), manifest.samples)
    head["configs"] = [{"config_name": "catalogue", "data_files": _items(manifest)}]
    lines = [*head_lines(head), f"# {_line(spec.name)}", ""]
    lines += [markdown(spec.description)] if spec.description else []
    counts = ", ".join(f"{name} {count:,}" for name, count in manifest.splits.items())
    lines += [
        "",
        f"{manifest.samples:,} samples ({counts}) of {spec.size_m:g} m x {spec.size_m:g} m, built by landweave.",
        "",
        "## Layers",
        "",
        "| layer | array | dates | shape per date | dtype | metres per pixel | stored x scale + offset |",
        "|---|---|---|---|---|---|---|",
        *(_array_row(group, array) for group in spec.groups for array in group.arrays),
        "",
        "A mask `valid` is True where every band was measured; `cloud` is True for cloud, shadow and cirrus.",
        "What was not obtained is absent, and the ledger in `catalogue/` says why.",
        "",
    ]
    lines += _legends(spec.groups)
    lines += _open(manifest) + _terms(manifest)
    return "\n".join(lines) + "\n"


def _array_row(group: GroupSpec, array: ArraySpec) -> str:
    shape = " x ".join(str(n) for n in array.chip_shape)
    if array.margin_m:
        shape += f", {abs(array.margin_m):,.10g} m {'beyond' if array.margin_m > 0 else 'inside'} each edge"
    physical = f"{markdown(array.unit)}: x {array.scale:g} + {array.offset:g}" if array.kind == "continuous" else ""
    return (
        f"| {_line(group.title)} | `{array.path}` | {array.slots if array.dated else ''} | {shape} | {array.dtype} | "
        f"{array.resolution_m:g} | {physical} |"
    )


def _legends(groups: tuple[GroupSpec, ...]) -> list[str]:
    lines: list[str] = []
    for group in groups:
        if group.classes:
            codes = ", ".join(f"{c.code} {_line(c.name)}" for c in group.classes)
            lines += [f"Classes of `{group.name}`: {codes}.", ""]
    return lines


def _items(manifest: DatasetManifest) -> str:
    """Path of the items; a pattern where they are in parts."""
    spec = manifest.spec
    return f"{spec.at(ROOT).removesuffix('.json')}/*.parquet" if spec.at(ROOT) in manifest.objects else spec.at(ITEMS)


def _open(manifest: DatasetManifest) -> list[str]:
    groups = manifest.spec.groups
    first = groups[0].arrays[0].path if groups else "sentinel2/bands_10m"
    return [
        "## Use",
        "",
        "```python",
        "import landweave",
        "",
        'data = landweave.open("PATH OR URL OF THIS FOLDER")',
        f'pixels = data.sample(0)["{first}"]',
        "```",
        "",
        f"`{ZARR}` is plain Zarr v3, `{_items(manifest)}` stac-geoparquet: both can be read without landweave.",
        "",
    ]


def _terms(manifest: DatasetManifest) -> list[str]:
    spec = manifest.spec
    lines = ["## Licences", "", f"Of the dataset as its recipe states it: {_line(spec.licence)}.", ""]
    lines += ["| layer | licence | attribution |", "|---|---|---|"]
    lines += [f"| `{g.name}` | {_line(g.licence)} | {_line(g.attribution)} |" for g in spec.groups]
    wrong = conflicts(spec.licence, {g.name: g.licence for g in spec.groups})
    if wrong:
        lines += ["", "**Conflicts:**", "", *(f"- {_line(line)}" for line in wrong)]
    return lines


def _line(text: str) -> str:
    return markdown(" ".join(text.split()))


def croissant(manifest: DatasetManifest) -> Json:
    """Croissant 1.0 JSON-LD: the catalogue as a record set, the arrays as files."""
    spec = manifest.spec
    name, parted = printable(spec.name), spec.at(ROOT) in manifest.objects
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"samples/{column}",
            "name": column,
            "description": words,
            "dataType": kind,
            "source": {_SOURCE[parted]: {"@id": "catalogue"}, "extract": {"column": column}},
        }
        for column, kind, words in _COLUMNS
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": printable(spec.description) or f"Multi-modal Earth-observation dataset {name}",
        "license": printable(spec.licence),
        "url": f"urn:sha256:{spec.recipe_sha256}",
        "citeAs": f"{name}, version 1.{spec.revision}.0 (recipe sha256 {spec.recipe_sha256})",
        "version": f"1.{spec.revision}.0",
        "keywords": list(TAGS),
        "creditText": "; ".join(printable(line) for line in manifest.attribution),
        "distribution": _distribution(manifest),
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": f"Samples; their pixels are in {ZARR} (Zarr v3), row shard * {spec.shard_samples} + row",
                "key": {"@id": "samples/id"},
                "field": fields,
            }
        ],
    }


_SOURCE = {False: "fileObject", True: "fileSet"}


def _distribution(manifest: DatasetManifest) -> list[Json]:
    """The file of the items, or the files and their set."""
    pattern = _items(manifest)
    if pattern in manifest.objects:
        return [_file("catalogue", pattern, manifest)]
    paths = [path for path in manifest.objects if path.startswith(pattern[:-9]) and path.endswith(".parquet")]
    files = [_file(f"catalogue-{number}", path, manifest) for number, path in enumerate(sorted(paths))]
    together = {"@type": "cr:FileSet", "@id": "catalogue", "name": "catalogue", "includes": pattern}
    return [*files, {**together, "encodingFormat": "application/x-parquet"}]


def _file(name: str, path: str, manifest: DatasetManifest) -> Json:
    found = manifest.objects[path]
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": "One row per sample, stac-geoparquet",
        "contentUrl": path,
        "contentSize": f"{found.size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": found.sha256,
    }


_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification of Croissant 1.0 recommends."""


def citation(manifest: DatasetManifest) -> str:
    """CITATION.cff; who publishes the dataset adds the authors."""
    spec = manifest.spec
    facts = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "message": "Cite this dataset and the sources of its layers.",
        "title": printable(spec.name),
        "version": f"1.{spec.revision}.0",
        **({} if spec.licence.lower() in UNSTATED else {"license": printable(spec.licence)}),
        "identifiers": [{"type": "other", "value": f"sha256:{spec.recipe_sha256}", "description": "recipe"}],
        "authors": [{"name": f"The makers of {printable(spec.name)}"}],
        "references": [
            {
                "type": "data",
                "title": printable(g.title),
                "notes": printable(g.attribution),
                "authors": [{"name": "see notes"}],
            }
            for g in spec.groups
        ],
    }
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in facts.items()) + "\n"
