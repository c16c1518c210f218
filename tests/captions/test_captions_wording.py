"""Every frame of the template's wording, filled from facts, is read back into claims that the facts bear."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from pipelines.captions.check import judge
from pipelines.captions.slots import slots_of
from pipelines.captions.template import FORMS, template_caption
from pipelines.captions.wording import Chooser, Noun, chosen, expansions, fill, frames
from tests.captions.test_captions_mutations import distinct_facts

TOPIC_OF = dict.fromkeys(("lead", "much", "full", "green", "farm", "adj"), "cover")


def round_trips(seeds: range) -> tuple[Counter[str], Counter[str], list[tuple[str, str]]]:
    """Pattern -> sentences that were filled, and those accepted; and sentences that could not be read."""
    filled, accepted, unread = Counter[str](), Counter[str](), list[tuple[str, str]]()
    for seed in seeds:
        facts = distinct_facts(seed)
        whole = replace(facts, overall=tuple(replace(s, percent=97 - 94 * i) for i, s in enumerate(facts.overall[:2])))
        level = replace(facts, overall=tuple(replace(s, percent=46 - 2 * i) for i, s in enumerate(facts.overall[:2])))
        for topic, patterns in frames().items():
            for number, pattern in enumerate(patterns):
                known = whole if topic == "full" else level if "{even}" in pattern else facts
                chooser = Chooser(f"{seed}/{number}")
                text = fill(chosen(pattern, chooser, "x"), slots_of(TOPIC_OF.get(topic, topic), known, chooser, "y"))
                if text is None:
                    continue
                verdict = judge(text, known)
                filled[pattern] += 1
                accepted[pattern] += verdict.reason is None
                if verdict.check in ("words", "grammar", "format", "names"):
                    unread.append((text, str(verdict.reason)))
    return filled, accepted, unread


@pytest.mark.slow
def test_frames_are_read_back() -> None:
    filled, accepted, unread = round_trips(range(25))
    assert unread == []
    assert sum(accepted.values()) > 0.6 * sum(filled.values())


@pytest.mark.slow
def test_frames_are_read_back_for_many_facts() -> None:
    filled, accepted, unread = round_trips(range(300))
    assert unread == []
    assert {p for patterns in frames().values() for p in patterns if not filled[p]} == set()
    assert [p for p in filled if not accepted[p]] == []


def test_there_are_thousands_of_frames() -> None:
    every = {frame for patterns in frames().values() for pattern in patterns for frame in expansions(pattern)}
    assert len(every) >= 3000
    assert all("[" not in frame and "]" not in frame and "  " not in frame for frame in every)


def test_forms_keep_their_lengths_and_begin_with_what_is_largest() -> None:
    lengths = dict.fromkeys(FORMS, 0)
    for seed in range(12):
        facts = distinct_facts(seed)
        words = sorted(len(template_caption(facts, f"s{seed}", i).split()) for i in range(3))
        assert words[0] < 30
        assert words[1] < 60
        lengths["long"] = max(lengths["long"], words[2])
    assert lengths["long"] > 60


@pytest.mark.parametrize(
    ("noun", "verb", "form"),
    [(Noun("trees", plural=True), "cover", "cover"), (Noun("forest", plural=False), "cover", "covers"),
     (Noun("forest", plural=False), "take up", "takes up"), (Noun("forest", plural=False), "occupy", "occupies"),
     (Noun("woods", plural=True), "be", "are"), (Noun("wood", plural=False), "be", "is"),
     (Noun("wood", plural=False), "surpass", "surpasses"), (Noun("wood", plural=False), "vary", "varies"),
     (Noun("wood", plural=False), "diminish", "diminishes"),
     (Noun("tree cover", plural=False), "cover most of", "takes up most of")],
)  # fmt: skip
def test_verbs_agree_with_their_nouns(noun: Noun, verb: str, form: str) -> None:
    assert noun.verb(verb) == form


@pytest.mark.parametrize("seed", range(6))
def test_a_caption_that_grows_is_read_like_a_new_one(seed: int) -> None:
    facts = distinct_facts(seed)
    for index in range(3):
        sentences = template_caption(facts, f"s{seed}", index).split(". ")
        grown = [judge(". ".join(sentences[:n]).rstrip(".") + ".", facts) for n in range(1, len(sentences) + 1)]
        anew = judge(". ".join(sentences), replace(facts))
        assert grown[-1] == anew
        assert [v.claims for v in grown] == [anew.claims[: len(v.claims)] for v in grown]
