"""Searches the archives: one search per block of ground, layer and period, never one per sample."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipelines.access.errors import ItemRefused
from pipelines.access.http.client import AccessError
from pipelines.access.stac.paging import Take
from pipelines.access.threads import threads
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from pipelines.access.archives import Archives
    from pipelines.access.stac.search import Item
    from pipelines.plan.blocks import Block
    from schemas.place import Place
    from schemas.provider import AnyProvider
    from schemas.scene import Scene

SEARCHES_AT_ONCE = 8
"""Searches under way at once; each provider's own `concurrency` bounds it further."""
ITEMS_AHEAD = 10_000
"""No search is begun while searches that wait to be served are expected to bring more: bounds memory."""


class ItemParser(Protocol):
    """Turns an item into a scene, or raises `ItemRefused`."""

    def __call__(self, item: dict[str, object], provider_name: str, provider: AnyProvider) -> Scene:
        """Parse one item."""
        ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """Search of one layer for one period."""

    layer: str
    """Modality or label."""
    providers: tuple[str, ...]
    """Names of providers, tried in this order."""
    collection: str
    """Collection id, for people and for providers that `collections` does not name."""
    period: tuple[dt.date, dt.date] | None
    """First and last day, UTC; None = at any time."""
    slots: tuple[int, ...]
    """Date slots that the answer serves."""
    parse: ItemParser
    collections: Mapping[str, str] = field(default_factory=dict)
    """Provider -> collection id there."""
    plain: bool = False
    """Whether Earth Engine's images are wanted as they are, band by band, and not as one of the known products."""
    own_window: str = ""
    """Name of the window, where its period is another for each place."""


@dataclass(kw_only=True)
class Answer:
    """The archives' answers to one question about one block."""

    scenes: list[Scene] = field(default_factory=list)
    """Sorted by item id."""
    refused: dict[str, tuple[Reason, str]] = field(default_factory=dict)
    """Id (or place among the answers, where there is none) -> why what the archive gave cannot be used."""
    provider: str | None = None
    """Provider that answered."""
    error: AccessError | None = None
    """Why nobody did."""
    pages: int = 0
    """Pages of results asked for, of all providers tried."""

    used: set[str] = field(default_factory=set)
    """Item ids that candidates name."""

    def count(self) -> None:
        """One more page is asked for."""
        self.pages += 1


def ask(archives: Archives, question: Question, block: Block) -> Answer:
    """One question about one block: providers in order until one answers."""
    answer = Answer()
    for name in question.providers:
        refused: dict[str, tuple[Reason, str]] = {}
        take = Take(_judge(question, name, archives.providers[name], refused), answer.count, _noting(refused))
        try:
            collection = question.collections.get(name, question.collection)
            found = archives.search(name, collection, block.bboxes, question.period, take, plain=question.plain)
        except AccessError as error:
            answer.error, answer.provider = error, name
            continue
        answer.error, answer.provider, answer.refused = None, name, refused
        answer.scenes = sorted((scene for scene in found if scene is not None), key=lambda scene: scene.item_id)
        return answer
    return answer


def _judge(
    question: Question, name: str, provider: AnyProvider, refused: dict[str, tuple[Reason, str]]
) -> Callable[[Item], Scene | None]:
    """Item -> scene; None if it cannot be used, which is noted in `refused`.

    An item that our own code stumbles over is one more item that cannot be used: who wrote it does not end the run.
    """

    def judged(item: Item) -> Scene | None:
        try:
            return question.parse(item, name, provider)
        except ItemRefused as error:
            refused[str(item.get("id"))] = error.reason, error.detail
        except Exception as error:  # noqa: BLE001 - see the docstring
            why = f"item {item.get('id')!r} cannot be read ({type(error).__name__})"
            refused[str(item.get("id"))] = Reason.BAD_ITEM, why
        return None

    return judged


def _noting(refused: dict[str, tuple[Reason, str]]) -> Callable[[str, str], None]:
    def dropped(whose: str, why: str) -> None:
        refused[whose] = Reason.BAD_ITEM, why

    return dropped


def ask_all(archives: Archives, questions: Sequence[tuple[Question, Block]]) -> Iterator[Answer]:
    """Answers in the order of the questions; a few searches run in parallel, ahead of the caller."""
    waiting = deque(questions)
    running: deque[tuple[Future[Answer], float]] = deque()
    with threads(SEARCHES_AT_ONCE, "search") as pool:
        while waiting or running:
            while waiting and len(running) < SEARCHES_AT_ONCE and sum(items for _, items in running) <= ITEMS_AHEAD:
                question, block = waiting.popleft()
                running.append((pool.submit(ask, archives, question, block), block.items))
            yield running.popleft()[0].result()


def absence(place: Place, question: Question, slot: int, answer: Answer, more: str = "") -> Outcome:
    """The ledger's row for an observation without a usable scene; `more` says why nearby scenes are unusable."""
    if answer.error is not None:
        reason, detail = answer.error.reason, answer.error.detail
    elif answer.refused and not answer.scenes:
        reason, detail = min(answer.refused.values(), key=lambda why: why[1])
    else:
        period = (
            "" if question.period is None else f" from {question.period[0]:%Y-%m-%d} to {question.period[1]:%Y-%m-%d}"
        )
        near = f"none of {len(answer.scenes)} scenes nearby suits{more}" if answer.scenes else "no scene nearby"
        asked = question.collections.get(answer.provider or "", question.collection).replace(",", ", ")
        own = f" in window {question.own_window!r}" if question.own_window else ""
        reason, detail = Reason.NO_SCENE, f"{asked}{own}{period}: {near}"
    return Outcome(
        sample_id=place.sample_id,
        layer=question.layer,
        slot=slot,
        reason=reason,
        provider=answer.provider,
        detail=detail,
    )
