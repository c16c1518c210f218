"""Ten years of passes and further products over the miniature Earth, served beside the planet by the same protocols.

`testbed.serve(folder, archive=True)` or `python -m testbed serve FOLDER --archive`. Items are made at the start, in
seconds; rasters when they are asked for, into a folder that goes when the services close.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.archive.again import Rasters, again
from testbed.archive.engine import images_of
from testbed.archive.foreign import Foreign
from testbed.ranges import content_type, file_answer
from testbed.server import Answer, Request

if TYPE_CHECKING:
    from testbed.services import Services

_AT_PLANETARY_COMPUTER = ("naip", "modis-09A1-061", "alos-palsar-mosaic", "usda-cdl", "io-lulc-annual-v02")


def add_archive(services: Services, planet: Path) -> Rasters:
    """Put the archive behind services that serve a planet.

    Returns:
        Its rasters; `find` gives the file behind an href.
    """
    scratch = Path(services.closing.enter_context(tempfile.TemporaryDirectory(prefix="landweave-archive-")))
    foreign = Foreign(planet, scratch)
    rasters = Rasters(planet / "files", scratch, foreign.base)
    for name in ("planetary-computer", "dlr-eoc", "earthdata", "testbed"):
        if name in services.catalogues:
            mine = json.loads((planet / "stac" / f"{name}-items.json").read_text())
            kept = [i for i in mine if name != "testbed" or i["collection"] == "dynamic-world-v1"]
            services.catalogues[name].items += again(kept, f"/files/{name}/")
    found = foreign.items()
    found += again([foreign.modis_item()], "")
    for name, wanted in (("planetary-computer", True), ("testbed", False)):
        if name in services.catalogues:
            services.catalogues[name].items += [
                i for i in found if (i["collection"] in _AT_PLANETARY_COMPUTER) == wanted
            ]
    if services.earthengine is not None:
        for image in images_of(planet, foreign, rasters):
            services.earthengine.catalogue.add(image)
    services.server.routes.insert(0, lambda request: _answer(rasters, request))
    return rasters


def _answer(rasters: Rasters, request: Request) -> Answer | None:
    found = rasters.find(request.path)
    if found is None:
        return None
    status, body, headers = file_answer(found, request.headers, content_type(request.path), request.method == "HEAD")
    return Answer(status=status, body=body, headers=headers)
