"""Chooses among candidates, so that neither a question's words nor its kind tell the answer.

The unit is a shard: it is built in one piece wherever it is built, so the choice needs no other process and is the same
for any number of workers. Answers that chance does not make even are taken in sets: in each group of questions that
read alike, a set has every answer in its proportion, and what is left over is not asked. The rest of a sample's
questions are even by the way they are made; its tasks take turns.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pipelines.questions.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.questions.candidate import Candidate

_Group = dict[str, list[tuple[float, str, int]]]
"""Answer -> (draw, sample, number of the candidate), in the order of the draws."""


def chosen(found: Mapping[str, Sequence[Candidate]], most: int, shard: int) -> dict[str, list[Candidate]]:
    """Sample -> the questions to ask of it, at most `most`.

    Args:
        found: sample -> its candidates.
        most: pairs of one sample, turns of conversations included.
        shard: number of the shard; the draws depend on it.
    """
    dice = Dice(f"shard/{shard}")
    kept = _balanced(found, dice, max(1, most * 3 // 4))
    return {sample: _filled(sample, listed, kept[sample], most) for sample, listed in found.items()}


def _balanced(found: Mapping[str, Sequence[Candidate]], dice: Dice, quota: int) -> dict[str, list[int]]:
    """Candidates whose answers are balanced against one another, at most `quota` of a sample."""
    groups: dict[tuple[str, str], _Group] = defaultdict(lambda: defaultdict(list))
    shares: dict[tuple[str, str], Mapping[str, int]] = {}
    for sample, listed in found.items():
        draws = Dice(f"balance/{sample}").rolls("", len(listed))
        for number, one in enumerate(listed):
            if one.balance:
                name = (one.family.name, one.alike)
                shares[name] = one.balance
                groups[name][one.key].append((draws[number], sample, number))
    order = sorted(groups, key=lambda name: dice.roll("/".join(name)))
    for group in groups.values():
        for queue in group.values():
            queue.sort(reverse=True)
    kept: dict[str, list[int]] = defaultdict(list)
    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    while order:
        order = [name for name in order if _take(name, groups[name], shares[name], kept, tasks, quota)]
    return kept


def _take(
    name: tuple[str, str],
    group: _Group,
    shares: Mapping[str, int],
    kept: dict[str, list[int]],
    tasks: dict[str, Counter[str]],
    quota: int,
) -> bool:
    """Take one set of a group: each answer in its proportion; False if there is none left."""
    taken: list[tuple[str, int]] = []
    for key, count in shares.items():
        queue = group.get(key, [])
        wanted = count
        while queue and wanted:
            entry = queue.pop()
            _, sample, number = entry
            full = len(kept[sample]) + sum(s == sample for s, _ in taken) >= quota
            if full or tasks[sample][name[0]] + sum(s == sample for s, _ in taken) >= 2:
                continue
            taken.append((sample, number))
            wanted -= 1
        if wanted:
            return False
    for sample, number in taken:
        kept[sample].append(number)
        tasks[sample][name[0]] += 1
    return True


def _filled(sample: str, listed: Sequence[Candidate], kept: Sequence[int], most: int) -> list[Candidate]:
    """The balanced questions of a sample, and others up to `most`, tasks by turns."""
    dice = Dice(f"fill/{sample}")
    picked = [listed[i] for i in kept]
    size = sum(1 + len(one.follows) for one in picked)
    tasks, families = Counter(c.family.task for c in picked), Counter(c.family.name for c in picked)
    draws = dice.rolls("", len(listed))
    free = {i: draws[i] for i, c in enumerate(listed) if not c.balance}
    while free and size < most:
        best = min(free, key=lambda i: (tasks[listed[i].family.task], families[listed[i].family.name], free[i]))
        one = listed[best]
        del free[best]
        if size + 1 + len(one.follows) > most:
            continue
        picked.append(one)
        size += 1 + len(one.follows)
        tasks[one.family.task] += 1
        families[one.family.name] += 1
    return sorted(picked, key=lambda c: dice.roll(f"{c.family.name}/{c.alike}/{c.key}"))
