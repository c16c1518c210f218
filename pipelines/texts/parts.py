"""What the pass makes of one shard: the texts of its samples, what is missing and why, and what it cost."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.captions.evidence import claims_of
from pipelines.shards.text_revision import SampleTexts
from pipelines.texts.allowance import Usage
from schemas.caption import Caption, facts_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.dialogue import Said
    from pipelines.texts.job import TextJob
    from schemas.caption import Facts


@dataclass
class Part:
    """Of one shard."""

    samples: dict[str, SampleTexts] = field(default_factory=dict)
    """Sample id -> its texts."""
    spent: Usage = field(default_factory=Usage)
    """Tokens."""
    questions: int = 0
    """Answers that came."""
    stopped: int = 0
    """Questions that the budget did not admit."""
    unanswered: int = 0
    """Questions without an answer."""
    why: str = ""
    """Why the first of them has none."""

    def to_bytes(self) -> bytes:
        """As JSON."""
        said = {**asdict(self), "samples": {name: asdict(one) for name, one in self.samples.items()}}
        return (json.dumps(said, sort_keys=True, ensure_ascii=True) + "\n").encode()

    @classmethod
    def of_bytes(cls, raw: bytes) -> Part:
        """From `to_bytes`."""
        said: dict[str, Any] = json.loads(raw)
        samples = {name: SampleTexts(**one) for name, one in said.pop("samples").items()}
        return cls(**{**said, "spent": Usage(**said["spent"])}, samples=samples)

    @property
    def reasons(self) -> Counter[str]:
        """Kind of text or of its absence -> how many."""
        found: Counter[str] = Counter()
        for one in self.samples.values():
            found.update("instead" if text["fallback"] else text["captioner"] for text in one.texts)
            found["missing"] += len(one.missing)
        return +found


def texts_of(job: TextJob, facts: Facts, where: dict[str, str], spoken: Sequence[Said], pictures: int) -> SampleTexts:
    """What a set has for one sample.

    Args:
        job: the set.
        facts: of the sample.
        where: what is said about -> the array or table that shows it.
        spoken: its wordings.
        pictures: that were shown.
    """
    names = [] if job.model is None else list(job.model.pictures)[:pictures]
    texts, missing = [], []
    for index, said in enumerate(spoken):
        if not isinstance(said.caption, Caption):
            missing.append({"reason": said.caption.reason.value, "detail": said.why, "slot": index})
            continue
        by_model = said.caption.captioner == "llm" and job.prompt is not None
        texts.append(
            {
                **asdict(said.caption),
                "checks": list(said.caption.checks),
                "claims": claims_of(said.caption.text, facts, where),
                "set": job.entry.name,
                "prompt_sha256": job.prompt.sha256 if by_model and job.prompt is not None else "",
                "seed": said.seed,
                "why": said.why,
                "pictures": names if by_model else [],
                "index": index,
            }
        )
    return SampleTexts(texts=texts, facts=facts_json(facts), missing=missing)
