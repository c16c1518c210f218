"""Composites that Earth Engine reduces: a request for each array instead of one for each scene.

First the cloud layers of all scenes come side by side in one request; they decide, as in `composite`, which scenes go
in and where each is clear. Then the service reduces each array over the clear pixels and sends one image. Arrays that
are coarser than the cloud layer (Sentinel-2's 60 m bands) come side by side too and are reduced here: a coarse pixel
counts only where no cloud touches it, which the service's grids cannot say. The numbers are those of `composite`.

Scenes whose numbers have to be converted (another scale, decibels) are read one by one and reduced here, as are those
of a request that fails for good: one of its scenes is damaged or gone, and the others still count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.chips import Chip, Pile, Sky
from pipelines.access.earthengine.items import SCHEME
from pipelines.access.errors import AccessError
from pipelines.reading import Attempts
from pipelines.sources import composite
from pipelines.sources.composite import composite_of, reduced_layer, unusable
from pipelines.sources.observation import Ask, Layered, asks, assemble, delivered
from schemas.outcome import Outcome, Reason
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.sources.composite import Read, Reads, Room
    from pipelines.sources.observation import ObservationRequest
    from pipelines.sources.sensor import SensorSource
    from schemas.modality import Layer, Modality
    from schemas.recipe import Recipe
    from schemas.scene import Scene

BY = "Earth Engine"
"""What `reduced_by` of such an observation's provenance says."""
Takes = list[tuple["Scene", ...]]


def compose(
    source: SensorSource,
    recipe: Recipe,
    requests: Sequence[ObservationRequest],
    scenes: Mapping[str, Scene],
    read: Read,
    room: Room,
) -> Iterator[Observation | Outcome]:
    """The composite of each request, in order, reduced at Earth Engine where that gives the same numbers.

    Arguments as for `pipelines.sources.composite.compose`.
    """
    takes = [[tuple(scenes[i] for i in c.scenes) for c in r.candidates] for r in requests]
    jobs = [
        _Job(source, recipe, r, t) if t and _there(source, recipe, r, t) else None
        for r, t in zip(requests, takes, strict=True)
    ]
    ours = [job for job in jobs if job is not None]
    for step in (_Job.sky, _Job.arrays):
        _advance(ours, step, read)
    rest = [r for r, job in zip(requests, jobs, strict=True) if job is None or job.broken]
    one_by_one = composite.compose(source, recipe, rest, scenes, read, room)
    for job in jobs:
        yield next(one_by_one) if job is None or job.broken else job.result()


def side_by_side(modality: Modality, layer: Layer, edge_of: Mapping[str, float]) -> bool:
    """Whether an array's scenes come side by side and are reduced here: the cloud layer, and what is coarser."""
    cloud = modality.cloud_layer
    return cloud is not None and (layer.name == cloud or edge_of[layer.name] > edge_of[cloud])


def as_stored(scene: Scene) -> bool:
    """Whether a scene's numbers are stored as they are delivered, but for the least that they may be."""
    return all(
        (r.gain, r.offset_dn, r.to_db, r.to_linear) == (1.0, 0.0, False, False) for r in scene.radiometry.values()
    )


def _advance(jobs: Sequence[_Job], step: Any, read: Read) -> None:
    """One round of requests of all jobs together; what fails ends a job, or leaves it to be read one by one."""
    asked = [(job, found) for job in jobs if job.open and (found := step(job))]
    answers = read([(job.takes[0][0].provider, found) for job, found in asked])
    for (job, found), got in zip(asked, answers, strict=True):
        job.take(found, got)


def _there(source: SensorSource, recipe: Recipe, request: ObservationRequest, takes: Takes) -> bool:
    """Whether all scenes are at Earth Engine, are asked for alike, and their numbers are stored as they are."""
    if not all(a.href.startswith(f"{SCHEME}:") for take in takes for scene in take for a in scene.assets.values()):
        return False
    for layer in source.modality.layers:
        found = _asks(source, recipe, request, layer, takes)
        first = found[0][0]
        for each in found:
            if len(each) != 1 or _form(each[0]) != _form(first):
                return False
    return all(as_stored(scene) for take in takes for scene in take)


def _form(ask: Ask) -> tuple[Any, ...]:
    return ask.bands, ask.request.bands, ask.request.fill, ask.request.kernel, [r.clip_min for r in ask.radiometry]


def _asks(
    source: SensorSource, recipe: Recipe, request: ObservationRequest, layer: Layer, takes: Takes
) -> list[list[Ask]]:
    edge = recipe.resolution_of(source.modality.name, layer.name)
    return [asks(source, layer, take, request.place, edge) for take in takes]


class _Job:
    """One composite on its way."""

    def __init__(self, source: SensorSource, recipe: Recipe, request: ObservationRequest, takes: Takes) -> None:
        self.takes, self.broken = takes, False
        self._source, self._recipe, self._request = source, recipe, request
        self._edges = {x.name: recipe.resolution_of(source.modality.name, x.name) for x in source.modality.layers}
        self._layers: list[dict[str, Layered]] = [{} for _ in takes]
        self._made: dict[str, Layered] = {}
        self._reads: Reads = []
        self._tried = Attempts[Observation](
            sample_id=request.place.sample_id, layer=source.modality.name, slot=request.slot, waiting=[]
        )

    @property
    def open(self) -> bool:
        """Whether there is something to read for it."""
        return not self.broken and self._tried.result is None and bool(self.takes)

    def sky(self) -> list[Ask]:
        """The cloud layers of all scenes, and arrays that are coarser than they."""
        return [
            self._apart(layer)
            for layer in self._source.modality.layers
            if side_by_side(self._source.modality, layer, self._edges)
        ]

    def arrays(self) -> list[Ask]:
        """The other arrays, reduced over the scenes that go in."""
        self._choose()
        layers = self._source.modality.layers
        return [self._over(x) for x in layers if self.takes and not side_by_side(self._source.modality, x, self._edges)]

    def take(self, found: Sequence[Ask], got: Reads | AccessError) -> None:
        """What was read for `found`."""
        if isinstance(got, AccessError):
            self.broken = not got.reason.retryable
            if not self.broken:
                self._tried.fail(self.takes[0], got)
            return
        for ask, chip in zip(found, (chip for _, chip in got), strict=True):
            if ask.request.pile is not None and ask.request.pile.how == "apart":
                self._spread(ask, chip)
            else:
                self._made[ask.layer.name] = assemble(ask.layer, [(ask, chip)])
                self._reads.append((ask, chip))

    def result(self) -> Observation | Outcome:
        """The composite, or why there is none."""
        if self._tried.result is not None:
            return self._tried.result
        if not self.takes:
            cloudy = next((o for o in self._tried.failed if o.reason is Reason.TOO_CLOUDY), None)
            return cloudy or self._tried.failed[0]
        scenes = [scene for take in self.takes for scene in take]
        problem = self._source.contradiction(scenes, delivered(self._reads))
        if problem is not None:
            return self._tried.absent(scenes, Reason.BAD_ITEM, problem)
        for layer in self._source.modality.layers:
            if side_by_side(self._source.modality, layer, self._edges):
                self._made[layer.name] = reduced_layer(self._source, self._recipe, layer, self._layers)
        made = composite_of(self._source, self._recipe, self._request, self.takes, self._made, BY)
        return made if isinstance(made, Observation) else self._tried.absent(scenes, *made)

    def _choose(self) -> None:
        """Leave out the scenes that cannot be used: those of which nothing is measured, or that are too cloudy."""
        if self._source.modality.cloud_layer is None:
            return
        kept = []
        for take, layers in zip(self.takes, self._layers, strict=True):
            problem = unusable(self._source, take, [], layers)
            if problem is None:
                kept.append((take, layers))
            else:
                self._tried.drop(take, *problem)
        self.takes, self._layers = [take for take, _ in kept], [layers for _, layers in kept]

    def _apart(self, layer: Layer) -> Ask:
        return self._pile(layer, "apart", None)

    def _over(self, layer: Layer) -> Ask:
        how = self._source.config.limits.composite or "median"
        return self._pile(layer, how if layer.kind == "continuous" else "mosaic", self._clear())

    def _pile(self, layer: Layer, how: Any, sky: Sky | None) -> Ask:
        each = [ask for (ask,) in _asks(self._source, self._recipe, self._request, layer, self.takes)]
        first = each[0].request
        least = max((r.clip_min for r in each[0].radiometry if r.clip_min is not None), default=None)
        pile = Pile(
            takes=tuple(ask.request.hrefs for ask in each),
            how=how,
            sky=sky,
            least=least,
            whole=np.dtype(layer.dtype).kind != "f",
        )
        hrefs = tuple(href for ask in each for href in ask.request.hrefs)
        return replace(each[0], request=replace(first, hrefs=hrefs, epsgs=(), grids=(), pile=pile))

    def _clear(self) -> Sky | None:
        """The codes that are clear in some scene, where the sensor sees clouds."""
        name = self._source.modality.cloud_layer
        if name is None:
            return None
        layer = self._source.modality.layer(name)
        codes: set[int] = set()
        for layers in self._layers:
            sky = layers[name]
            good = sky.valid[0] & ~self._source.cloud_mask(sky.values[0])
            codes |= set(np.unique(sky.values[0][good]).tolist())
        each = [ask for (ask,) in _asks(self._source, self._recipe, self._request, layer, self.takes)]
        return Sky(
            takes=tuple(ask.request.hrefs for ask in each),
            band=each[0].request.bands[0],
            geobox=each[0].request.geobox,
            clear=tuple(sorted(int(code) for code in codes)) or (-1,),
        )

    def _spread(self, ask: Ask, chip: Chip) -> None:
        """The images of a chip that holds them side by side."""
        count = len(ask.bands)
        for i, layers in enumerate(self._layers):
            part = slice(i * count, (i + 1) * count)
            one = Chip(chip.pixels[part], chip.valid[part], chip.resampling)
            layers[ask.layer.name] = assemble(ask.layer, [(ask, one)])
