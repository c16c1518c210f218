"""The REST protocol: discovery, algorithms, assets, value:compute and pixels, over any server of the testbed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from affine import Affine

from testbed.earthengine import listing
from testbed.earthengine.catalogue import PUBLIC, EeCatalogue
from testbed.earthengine.describe import described
from testbed.earthengine.encode import check_limits, encoded
from testbed.earthengine.errors import EeError, bad
from testbed.earthengine.evaluate import Cost, Evaluation
from testbed.earthengine.functions import FUNCTIONS
from testbed.earthengine.geometries import code_of
from testbed.earthengine.grids import Grid, Projection
from testbed.earthengine.image_functions import as_image
from testbed.earthengine.quota import Limits, Quota
from testbed.earthengine.reducers import Region, lattice
from testbed.server import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.earthengine.images import Image
    from testbed.earthengine.tokens import Tokens
    from testbed.server import Request

MAX_PAYLOAD_BYTES = 10_485_760
"""'Request payload size exceeds the limit: 10485760 bytes.' (gee-community/geemap#1092)."""
EECU_S_PER_REQUEST = 0.02
EECU_S_PER_MPX = 0.5
"""The testbed's price of reading a million source pixels: an invention, only so that a meter has something to count."""
_PROFILE = "x-earth-engine-computation-profile"
_PATH = re.compile(r"^/v1(?:alpha|beta)?/(?P<name>projects/[^/:]+(?:/[^:]+)?)(?::(?P<verb>[A-Za-z]+))?$")


@cache
def _shipped(name: str) -> dict[str, Any]:
    found = json.loads((files("ee") / "tests" / name).read_text())
    if not isinstance(found, dict):
        raise TypeError(f"{name} of the earthengine-api wheel is not an object")
    return found


@cache
def discovery(base_url: str) -> dict[str, Any]:
    """The wheel's discovery document as v1 of this server.

    The copy in the wheel is from 2020 (v1alpha): `filter` and `view` of listAssets are added, which v1 has
    (https://developers.google.com/earth-engine/reference/rest/v1/projects.assets/listAssets).
    """
    text = json.dumps(_shipped("cloud_api_discovery_document.json")).replace("v1alpha", "v1")
    document: dict[str, Any] = json.loads(text.replace("https://earthengine.googleapis.com/", base_url + "/"))
    assets = document["resources"]["projects"]["resources"]["assets"]["methods"]["listAssets"]["parameters"]
    for name in ("filter", "view"):
        assets[name] = {"description": "", "location": "query", "type": "string"}
    return document


@dataclass(kw_only=True)
class EarthEngine:
    """One Earth Engine project on loopback."""

    catalogue: EeCatalogue
    """What it holds."""
    limits: Limits = field(default_factory=Limits)
    """Its quota."""
    tokens: Tokens | None = None
    """Who may ask; None = everybody."""
    projects: frozenset[str] | None = None
    """Cloud projects with the API enabled; None = all."""
    tamper: Callable[[bytes], bytes] | None = None
    """Changes the body of pixel answers (to test readers)."""

    def __post_init__(self) -> None:
        """Nothing used yet."""
        self.quota = Quota(self.limits)
        self._profiles: dict[str, float] = {}
        self.requests: dict[str, int] = {}
        """Verb -> requests taken (refused ones not counted)."""

    def route(self, request: Request) -> Answer | None:
        """Answer what belongs to the service; None for other paths."""
        if self.tokens is not None and (answer := self.tokens.route(request)) is not None:
            return answer
        if request.path.startswith("/$discovery/"):
            return Answer.of(discovery(f"http://{request.headers.get('host', '127.0.0.1')}"))
        match = _PATH.match(request.path)
        if match is None:
            return None
        try:
            return self._service(request, match["name"], match["verb"] or "")
        except EeError as error:
            answer = Answer.of(error.json(), error.status)
            if error.status == 429 and self.limits.retry_after_s is not None:
                answer.headers["Retry-After"] = f"{self.limits.retry_after_s:g}"
            return answer
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            message = f"Invalid expression ({type(error).__name__}: {error})."
            return Answer.of(EeError(400, message).json(), 400)

    def _service(self, request: Request, name: str, verb: str) -> Answer:
        self._admit(request, name)
        if name.endswith("/algorithms"):
            return Answer.of(_shipped("algorithms.json"))
        if len(request.body) > MAX_PAYLOAD_BYTES:
            raise bad(f"Request payload size exceeds the limit: {MAX_PAYLOAD_BYTES} bytes.")
        started = time.monotonic()
        with self.quota.slot():
            self.requests[verb or "get"] = self.requests.get(verb or "get", 0) + 1
            try:
                answer = self._answer(request, name, verb)
            finally:
                time.sleep(max(0.0, self.limits.service_s - (time.monotonic() - started)))
        if self.quota.restricted:
            answer.headers["x-earth-engine-quota-status"] = "parallelism_restricted=true"
        return answer

    def _admit(self, request: Request, name: str) -> None:
        if self.tokens is not None and not self.tokens.holds(request.headers.get("authorization")):
            raise EeError(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential.",
            )
        project = request.headers.get("x-goog-user-project") or name.split("/")[1]
        if self.projects is not None and project not in self.projects:
            raise EeError(
                403,
                f"Caller does not have required permission to use project {project}. Grant the caller the "
                "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use "
                "permission.",
            )

    def _answer(self, request: Request, name: str, verb: str) -> Answer:
        kind = name.rsplit("/", maxsplit=1)[-1]
        if verb == "compute" and kind == "value":
            return self._value(request)
        if verb == "computePixels" and kind == "image":
            body = request.json()
            image, cost = self._image(body.get("expression"))
            return self._pixels(request, image, body, cost)
        if verb == "getPixels":
            asset_id = listing.asset_id(name)
            cost = Cost()
            image = self._evaluation(cost).call("Image.load", {"id": self._existing(asset_id)})
            return self._pixels(request, image, request.json(), cost)
        if verb == "listAssets":
            query = dict(request.query)
            if request.headers.get("x-http-method-override") == "GET":  # long queries come as a form
                query = dict(parse_qsl(request.body.decode()))
            return Answer.of(listing.page(self.catalogue, listing.asset_id(name), query))
        if verb == "" and request.method == "GET":
            return Answer.of(self._asset(listing.asset_id(name)))
        raise EeError(404, "Method not found.")

    def _existing(self, asset_id: str) -> str:
        if not self.catalogue.is_image(asset_id):
            raise listing.missing(asset_id)
        return asset_id

    def _asset(self, asset_id: str) -> dict[str, Any]:
        if self.catalogue.is_image(asset_id):
            return self.catalogue.image(asset_id).asset()
        if self.catalogue.is_collection(asset_id):
            return {"type": "IMAGE_COLLECTION", "name": PUBLIC + asset_id, "id": asset_id}
        raise listing.missing(asset_id)

    def _evaluation(self, cost: Cost) -> Evaluation:
        functions = {**FUNCTIONS, "Profile.getProfiles": self._profile_text}
        names = (a["name"].removeprefix("algorithms/") for a in _shipped("algorithms.json")["algorithms"])
        return Evaluation(self.catalogue, functions, frozenset(names), cost)

    def _image(self, expression: Any) -> tuple[Image, Cost]:
        cost = Cost()
        return as_image(self._evaluation(cost).run(expression), "Image.getPixels"), cost

    def _value(self, request: Request) -> Answer:
        cost = Cost()
        value = described(self._evaluation(cost).run(request.json().get("expression")))
        return self._charged(request, Answer.of({"result": value}), cost)

    def _pixels(self, request: Request, image: Image, body: dict[str, Any], cost: Cost) -> Answer:
        if body.get("bandIds"):
            names = [b for b in body["bandIds"] if b not in image.names]
            if names:
                raise bad(
                    f"Image.select: Band pattern '{names[0]}' did not match any bands. "
                    f"Available bands: [{', '.join(image.names)}]"
                )
            image = image.pick([image.names.index(b) for b in body["bandIds"]])
        grid = _grid(body.get("grid"), image)
        check_limits(image, grid.width, grid.height)
        data, kind = encoded(image, image.compute(grid), grid, str(body.get("fileFormat")))
        if self.tamper is not None:
            data = self.tamper(data)
        return self._charged(request, Answer(body=data, headers={"Content-Type": kind}), cost)

    def _charged(self, request: Request, answer: Answer, cost: Cost) -> Answer:
        eecu_s = EECU_S_PER_REQUEST + EECU_S_PER_MPX * cost.pixels_read / 1e6
        self.quota.charge(eecu_s)
        if request.headers.get("x-earth-engine-computation-profiling") == "1":
            name = f"profile-{len(self._profiles)}"
            self._profiles[name] = eecu_s
            answer.headers[_PROFILE] = name
        return answer

    def _profile_text(self, _: Evaluation, arguments: dict[str, Any]) -> str:
        """The profiler's table (https://geetools.readthedocs.io/en/v1.17.4/usage/profile.html shows one)."""
        lines = [" EECU·s PeakMem  Count  Description"]
        total = sum(self._profiles.get(str(i), 0.0) for i in arguments.get("ids", []))
        for share, text in ((0.75, "Loading assets: testbed"), (0.25, "(plumbing)")):
            lines.append(f"{total * share:7.4f}    1.0M      1  {text}")
        return "\n".join(lines) + "\n"


def _grid(value: Any, image: Image) -> Grid:
    """The PixelGrid resource, or the image's own pixels."""
    if not value:
        if image.footprint is None:
            raise bad("Unable to compute a bounded image: a 'grid' is required.")
        own, _ = lattice(image, Region(geometry=None, crs=None, transform=None, scale_m=None), image.footprint)
        return own
    t, size = value.get("affineTransform", {}), value.get("dimensions", {})
    transform = Affine(
        float(t.get("scaleX", 0)),
        float(t.get("shearX", 0)),
        float(t.get("translateX", 0)),
        float(t.get("shearY", 0)),
        float(t.get("scaleY", 0)),
        float(t.get("translateY", 0)),
    )
    if transform.is_degenerate:
        raise bad("Invalid grid: the affine transform cannot be inverted.")
    crs = value.get("crsCode") or value.get("crsWkt") or image.bands[0].projection.crs
    return Grid(Projection(code_of(crs), transform), int(size.get("width", 0)), int(size.get("height", 0)))
