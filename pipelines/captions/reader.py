"""Reads a text into claims and executes each of them. What cannot be read is refused, with its words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING, Claim, Evidence, refuted
from pipelines.captions.frames import grammar, run_of
from pipelines.captions.meaning import HANDLERS
from pipelines.captions.meaning.clause import PRESENT, Clause, Context, Part, is_absent
from pipelines.captions.tokens import tokens_of
from pipelines.captions.tokens.covers import presence
from pipelines.captions.tokens.phrases import degree_of
from pipelines.captions.tokens.token import Token, UnknownWordsError

if TYPE_CHECKING:
    from landweave.claims import Span  # noqa: F401
    from pipelines.captions.frames import Fit
    from schemas.caption import Facts

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_MOST_TOKENS = 120
"""Tokens of one sentence: longer ones are refused."""
_MOST_TRIES = 4000
"""Clauses that are tried for one sentence."""
_QUANTIFYING = frozenset(("adverb", "amount", "AMT", "some", "near", "rare"))
"""A word that begins a sentence is not idle when it may be one of these: 'only in the north'."""
_STRIPPED = frozenset(("alone", "together", "taken"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a text."""

    claims: tuple[Claim, ...]
    """Every claim that was read, in order; all are true if `reason` is None."""
    check: str | None = None
    """'words', 'grammar' or the predicate of the claim that failed; None if the text is accepted."""
    reason: str | None = None
    """One sentence; None if the text is accepted."""


@dataclass
class _Search:
    """The reading of one sentence."""

    tokens: list[Token]
    """Without adverbials of time and words that add nothing."""
    together: bool
    """Whether the sentence says 'together'."""
    each: bool
    """Whether it says 'both' or 'each'."""
    degree: str
    """'little' or 'far' where it says by how much something exceeds something else."""
    evidence: Evidence
    context: Context
    failed: str | None = None
    """First claim that the facts do not support."""
    check: str = "grammar"
    furthest: int = 0
    tries: int = 0
    dead: set[tuple[int, Context]] = field(default_factory=set)
    codes: list[str] = field(default_factory=list)
    """The grammar's code of each token."""
    placed: list[bool] = field(default_factory=list)
    """Whether each token is an adverbial of place."""
    core: bool = False
    """Whether frames are tried on what is left without glue, where no other fits."""

    def __post_init__(self) -> None:
        self.codes = list(run_of(self.tokens))
        self.placed = ["SCOPE" in t.cats for t in self.tokens]


@dataclass(frozen=True, slots=True)
class _Read:
    """Sentences that were read against the same facts: a caption that grows by a sentence is not read anew."""

    evidence: Evidence
    found: dict[tuple[str, Context], tuple[list[Claim], Context] | Verdict]
    """Sentence, and what stood before it -> what became of it."""


_MOST_READ = 500
_LAST: dict[str, _Read] = {}
"""What was read last; replaced as a whole, so threads see an old one or a new one."""


def _read_before(facts: Facts) -> _Read:
    last = _LAST.get("read")
    if last is None or last.evidence.facts is not facts or len(last.found) >= _MOST_READ:
        last = _LAST["read"] = _Read(Evidence(facts), {})
    return last


def read_text(text: str, facts: Facts) -> Verdict:
    """Reads and executes a text: the first reading whose every claim the facts support, or why there is none."""
    before, context = _read_before(facts), Context()
    claims: list[Claim] = []
    for sentence in _SENTENCE.split(text.strip()):
        plain = sentence.rstrip(".!?").strip()
        if not plain:
            continue
        found = before.found.get((plain, context))
        if found is None:
            found = before.found[plain, context] = _sentence(plain, before.evidence, context)
        if isinstance(found, Verdict):
            return replace(found, claims=tuple(claims))
        made, context = found
        claims += made
    if not claims:
        return Verdict((), "grammar", "the text claims nothing about the scene")
    return Verdict(tuple(claims))


def _sentence(text: str, evidence: Evidence, context: Context) -> tuple[list[Claim], Context] | Verdict:
    try:
        tokens = tokens_of(text, grammar().literals)
    except UnknownWordsError as error:
        words = ", ".join(repr(w) for w in error.words[:6])
        return Verdict((), "words", f"no claim can be read from {words}")
    if len(tokens) > _MOST_TOKENS:
        return Verdict((), "grammar", f"a sentence has more than {_MOST_TOKENS} phrases")
    own = [claim for token in tokens for claim in token.claims]
    for claim in own:
        why = refuted(claim, evidence)
        if why is not None:
            return Verdict((), claim.predicate, why)
    kept, together = _without_asides(tokens)
    each = any(t.word("both", "each") for t in tokens)
    start = replace(context, scopes=((),), fronted=False, place=(), taken=())
    search = _Search(kept, together, each, degree_of(text), evidence, start)
    found = _parse(search, _skip(kept, 0), start, first=True) or _parse_core(search, start)
    if found is None:
        if search.failed is not None:
            return Verdict((), search.check, search.failed)
        words = " ".join(t.words for t in kept[search.furthest : search.furthest + 8])
        return Verdict((), "grammar", f"no claim can be read from {words or text!r}")
    return [*own, *found[0]], found[1]


def _parse_core(search: _Search, start: Context) -> tuple[list[Claim], Context] | None:
    """A second reading, where the first found none: the frames marked with '~', which need no glue, are tried too."""
    search.core, search.tries, search.dead = True, 0, set()
    return _parse(search, _skip(search.tokens, 0), start, first=True)


_GLUE = frozenset((
    "be", "has", "hold", "found", "mappedverb", "standverb", "coveredby", "consist", "suffix", "rankword",
    "covernoun", "partword", "placeword", "timeword", "taken", "alone", "rise", "reliefword", "prefix", "plain",
    "objnoun", "shareof", "SCENE", "scene", "compared",
))  # fmt: skip
"""Categories of words that tie phrases together, and claim nothing by themselves."""
_GLUE_WORDS = frozenset(("of", "by", "with", "on", "at", "in", "for", "among", "there", "a", "an", "s", "it"))


def _is_glue(token: Token) -> bool:
    if token.words in _GLUE_WORDS:
        return True
    cats = {c for c in token.cats if not (c == "rare" and token.cats[c] == PRESENT)}
    return bool(token.cats) and cats <= _GLUE


_SET_APART = frozenset(("ADV", "alone", "together", "taken"))


def _without_asides(tokens: list[Token]) -> tuple[list[Token], bool]:
    """The tokens without adverbials of time and words that add nothing, and whether 'together' was among these.

    Of two commas around what is taken out, both go: 'the image, taken in April, shows'.
    """
    kept: list[Token] = []
    aside = together = False
    for i, token in enumerate(tokens):
        cats = token.cats.keys()
        if aside and kept and (kept[-1].words, token.words) in ((",", ","), ("(", ")")):
            kept.pop()
            aside = False
            continue
        if _SET_APART.isdisjoint(cats):
            aside = False
            if not token.word("a", "an"):
                kept.append(token)
            continue
        fronted = not cats & _QUANTIFYING or (i + 1 < len(tokens) and tokens[i + 1].word(","))
        first = not kept and (token.has("alone") or token.has("together")) and fronted
        idle = first or (bool(cats) and cats <= _STRIPPED)
        together = together or (idle and token.has("together"))
        aside = "ADV" in cats or (idle and "together" in cats)
        if not (aside or idle or token.word("a", "an")):
            kept.append(token)
    return kept, together


def _skip(tokens: list[Token], i: int) -> int:
    while i < len(tokens) and tokens[i].word(",", ";", ":", "and"):
        i += 1
    return i


_STOPS = (",", ";", ":", "(", ")")
_RELATIVE = ("where", "which", "in which", "on which", "of which", "whose", "that")


def _links(tokens: list[Token], j: int) -> bool:
    """Whether a clause may end before token j: a stop, a conjunction, or 'at' before an amount."""
    token = tokens[j]
    if token.word("at", "on"):
        return j + 1 < len(tokens) and tokens[j + 1].has("AMT")
    return token.has("link") or token.words in _STOPS


def _parse(search: _Search, i: int, context: Context, *, first: bool) -> tuple[list[Claim], Context] | None:
    """A chain of clauses from token i to the end, each true; None if there is none."""
    tokens = search.tokens
    if i >= len(tokens):
        return [], context
    key = (i, context)
    if key in search.dead or search.tries > _MOST_TRIES:
        return None
    search.furthest = max(search.furthest, i)
    for j in range(len(tokens), i, -1):
        if j < len(tokens) and (not _links(tokens, j) or _splits_list(tokens, i, j)):
            continue
        for claims, after in _clauses(search, i, j, context, first=first):
            k = j
            while k < len(tokens) and _links(tokens, k):
                behind = replace(after, relative=tokens[k].words in _RELATIVE, link=tokens[k].words)
                k += 1
                rest = (
                    _parse(search, k, behind, first=False) if k == len(tokens) or not _only_comma(tokens, k) else None
                )
                if rest is not None:
                    return [*claims, *rest[0]], rest[1]
            if j == len(tokens):
                return claims, after
    search.dead.add(key)
    return None


def _splits_list(tokens: list[Token], i: int, j: int) -> bool:
    """Whether tokens i..j are the beginning of a list that goes on: 'grass' of 'grass, water and trees cover'."""
    if not all(t.has("COVER") or t.has("OBJ") or t.word(",", "and", "or") for t in tokens[i:j]):
        return False
    k = j
    while k < len(tokens) and tokens[k].word(",", "and", "or"):
        k += 1
    if k == j or k >= len(tokens):
        return False
    return any(tokens[k].has(c) and tokens[j - 1].has(c) for c in ("COVER", "OBJ"))


def _only_comma(tokens: list[Token], k: int) -> bool:
    """Whether a clause would begin with a stop, which none does."""
    return tokens[k].word(",", ";", ":", ")")


def _clauses(search: _Search, i: int, j: int, context: Context, *, first: bool) -> list[tuple[list[Claim], Context]]:
    """Every true reading of tokens i..j as one clause."""
    whole = search.tokens[i:j]
    codes, core, scopes = search.codes[i:j], whole, list[Token]()
    inner = codes
    if True in search.placed[i:j]:
        placed = search.placed[i:j]
        core = [t for t, apart in zip(whole, placed, strict=True) if not apart]
        scopes = [t for t, apart in zip(whole, placed, strict=True) if apart]
        inner = [c for c, apart in zip(codes, placed, strict=True) if not apart]
    if not core:
        return [([], _fronted(context, scopes))]
    made = grammar()
    options: list[_Option] = []
    options += [(f, core, scopes) for f in made.fits("".join(inner), placed=False)]
    options += [(f, whole, []) for f in made.fits("".join(codes), placed=True)]
    fronted = bool(scopes) and search.placed[i]
    found = _tried(search, options, context, j, first=first, fronted=fronted)
    if not found and search.core:
        found = _tried(search, _core_options(core, scopes, whole), context, j, first=first, fronted=fronted)
    return found


_Option = tuple["Fit", list[Token], list[Token]]
"""A frame that fits, the tokens that it fits, and the adverbials of place around them."""


def _core_options(core: list[Token], scopes: list[Token], whole: list[Token]) -> list[_Option]:
    """What fits the tokens without glue."""
    made = grammar()
    bare, every = [t for t in core if not _is_glue(t)], [t for t in whole if not _is_glue(t)]
    if not bare:
        return []
    options: list[_Option] = [(f, bare, scopes) for f in made.fits(run_of(bare), placed=False, core=True)]
    return options + [(f, every, []) for f in made.fits(run_of(every), placed=True, core=True)]


def _tried(
    search: _Search, options: list[_Option], context: Context, j: int, *, first: bool, fronted: bool
) -> list[tuple[list[Claim], Context]]:
    found = []
    for fit, tokens, around in options:
        search.tries += 1
        if fit.frame.follows and first and (not context.subject or _leads_in(search, tokens, j)):
            continue
        made_clause = _clause(search, fit, tokens, around, context, fronted=fronted)
        for clause in _readings(made_clause, around, _ahead(search.tokens, j)):
            claims = _executed(search, clause, fit)
            if claims is not None:
                found.append((claims, _after(context, clause, claims, fit, fronted=fronted)))
    return found


def _leads_in(search: _Search, tokens: list[Token], j: int) -> bool:
    """'At 62 percent, trees lead': the share is of what comes, and not of what the sentence before spoke of."""
    return j < len(search.tokens) and bool(tokens) and tokens[0].word("at", "with", "on")


def _ahead(tokens: list[Token], j: int) -> tuple[Part, ...]:
    """The part of the scene that stands right behind the stop at j."""
    if j + 1 < len(tokens) and tokens[j].word(",") and tokens[j + 1].has("REGION"):
        return tuple(tokens[j + 1].cats["REGION"])
    return ()


def _readings(clause: Clause | None, around: list[Token], ahead: tuple[Part, ...]) -> list[Clause]:
    """The clause; one that begins with an amount and names no place may also go on with the last place.

    'Half of the bottom right is built-up, and a quarter is bare.' One that begins with 'with' may speak of the part
    `ahead` of it: 'with 90 percent trees, the top left is the most wooded'.
    """
    if clause is None:
        return []
    last = clause.context.scopes
    open_place = clause.scopes == ((),) and last != ((),) and not any(t.cats["SCOPE"] for t in around)
    if open_place and clause.tokens and clause.tokens[0].has("AMT"):
        return [clause, replace(clause, scopes=last)]
    if ahead and clause.scopes == ((),) and clause.tokens and clause.tokens[0].word("with", "at"):
        return [replace(clause, scopes=ahead)]
    return [clause]


def _executed(search: _Search, clause: Clause, fit: Fit) -> list[Claim] | None:
    """The claims of a clause; None if it makes none, or one that the facts do not support."""
    if _unused(clause, fit) or _twice(clause):
        return None
    claims = HANDLERS[fit.frame.handler](clause)
    if claims is None or (fit.frame.handler not in _OF_ABSENCE and any(is_absent(t) for t in clause.tokens)):
        return None
    claims = [_by_degree(c, search.degree) for c in (*claims, *_quantified(clause, fit))]
    why = next(((c, w) for c in claims if (w := refuted(c, search.evidence)) is not None), None)
    if why is None:
        return claims
    if search.failed is None:
        search.failed, search.check = why[1], why[0].predicate
    return None


_LITTLE_MORE, _FAR_MORE = 1.6, 1.25
"""Largest ratio of what is slightly more, smallest of what is far more."""


def _by_degree(claim: Claim, degree: str) -> Claim:
    """A comparison with the bounds of 'slightly' or 'far'."""
    if not degree or claim.predicate not in ("comparison", "more objects"):
        return claim
    if claim.low > 1.0 and claim.high >= EVERYTHING:
        return replace(claim, high=_LITTLE_MORE) if degree == "little" else replace(claim, low=_FAR_MORE)
    if claim.low == 0.0 and claim.high < 1.0:
        return replace(claim, low=1 / _LITTLE_MORE) if degree == "little" else replace(claim, high=1 / _FAR_MORE)
    return claim


_MEASURES = frozenset(("NUM", "LEN", "AREA", "DEG", "PERCENT", "relief", "hills", "COVER", "OBJ"))
_READS_ALL = frozenset(("respective", "respectivelast", "balanced", "slope", "slopeexceeds", "relief", "adjective"))
"""Handlers that look at every token of their clause."""


def _unused(clause: Clause, fit: Fit) -> bool:
    """Whether a clause says a quantity, a land cover, an object or a relief that its handler would not look at."""
    if fit.frame.handler in _READS_ALL:
        return False
    saying = [i for i, t in enumerate(clause.tokens) if not _MEASURES.isdisjoint(t.cats) and "SCENE" not in t.cats]
    spans = clause.slots.values()
    return not all(any(first <= i < end for first, end in spans) for i in saying)


def _twice(clause: Clause) -> bool:
    """Whether a list names one thing twice: 'grass, crops and grass'."""
    for slot in ("a", "b"):
        part = clause.part(slot)
        if len(part) > 1:
            names = [t.cats["COVER"].classes for t in part if "COVER" in t.cats]
            names += [t.cats["OBJ"].kinds for t in part if "OBJ" in t.cats]
            if len(names) > len(set(names)):
                return True
    return False


_OF_ABSENCE = ("present", "absent", "absentfrom")
_OF_PRESENCE = ("present", "consist", "mostly", "onlycovers", "restholds")


def _quantified(clause: Clause, fit: Fit) -> list[Claim]:
    """'only a trace of shrubs is found': the quantifier of a land cover claims too, whatever the clause says of it."""
    if fit.frame.handler in _OF_PRESENCE:
        return []
    covers = [t for t in clause.tokens if "COVER" in t.cats and t.cats["COVER"].span is not None]
    return [presence(t, scope) for t in covers for scope in clause.scopes]


def _fronted(context: Context, scopes: list[Token]) -> Context:
    named = tuple(p for t in scopes for p in t.cats["SCOPE"] or () if p)
    return replace(context, scopes=named or ((),), fronted=bool(named))


def _clause(
    search: _Search, fit: Fit, tokens: list[Token], around: list[Token], context: Context, *, fronted: bool
) -> Clause | None:
    named = tuple(p for t in around for p in t.cats["SCOPE"] or () if p)
    whole = any(t.cats["SCOPE"] == ((),) for t in around)
    referred = any(t.words.split()[-1] == "it" for t in around) or tokens[-1].word("there")
    subject = _subject(fit, tokens, context)
    scopes = _scopes(context, subject, named, whole=whole and (not context.fronted or bool(context.last)))
    if scopes is None:
        goes_on = (
            referred
            or fit.frame.follows
            or context.fronted
            or context.relative
            or not context.last
            or _fragment(tokens)
        )
        scopes = context.scopes if goes_on else ((),)
    if not scopes:
        return None
    words = " ".join(t.words for t in tokens)
    trailing = bool(named) and not fronted
    return Clause(tokens, fit.slots, scopes, context, search.together, search.each, trailing, words)


def _subject(fit: Fit, tokens: list[Token], context: Context) -> tuple[Part, ...] | None:
    """The parts of the scene that the slot 'r' names; None without it."""
    span = fit.slots.get("r", (0, 0))
    for token in tokens[span[0] : span[1]]:
        if token.has("REGION"):
            return tuple(token.cats["REGION"])
        if token.has("SCENE"):
            return ((),) if token.cats["SCENE"] else context.scopes
    return None


def _scopes(
    context: Context, subject: tuple[Part, ...] | None, named: tuple[Part, ...], *, whole: bool
) -> tuple[Part, ...] | None:
    """Parts that a clause speaks of by its own words; () if they contradict each other, None if there are none."""
    if subject is not None and named:
        inner = [(tuple(p for p in s if p in n) if s else n) for s in subject for n in named]
        return tuple(part for part in inner if part)
    if subject is not None:
        return subject
    if named:
        return _within(context, named)
    return ((),) if whole else None


def _fragment(tokens: list[Token]) -> bool:
    """A clause without a verb goes on with the place of the clause before."""
    left = any(t.has("amount") and t.cats["amount"] in ("rest", "mostrest") for t in tokens)
    left = left or any(t.words.startswith(("remaining", "other ", "last ")) for t in tokens)
    return left or not any(t.has("hold") or t.has("be") or t.has("has") for t in tokens)


def _within(context: Context, named: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """'The western side holds forest in its upper half': the parts of the named half that lie in the western side."""
    if len(context.place) == 2 and all(len(n) == 2 for n in named):
        inner = tuple(tuple(p for p in n if p in context.place) for n in named)
        if all(len(i) == 1 for i in inner):
            return inner
    return named


_ABOUT_ALL = frozenset(("share", "lead", "rank", "mostly", "rare"))
"""Handlers behind which 'it' and 'they' are all that the clause was about."""


def _after(context: Context, clause: Clause, claims: list[Claim], fit: Fit, *, fronted: bool) -> Context:
    classes = [t.cats["COVER"].classes for t in clause.tokens if "COVER" in t.cats]
    classes = classes or [t.cats["COVER"].classes for t in clause.covers("a")]  # 'a third is wooded'
    classes = classes or [(str(t.cats["superadj"]),) for t in clause.part("t") if t.has("superadj")]
    classes += [()] if not classes else []
    listed = tuple(c[0] for c in classes if len(c) == 1)
    subject = context.subject
    if classes[-1]:
        subject = clause.classes("a") if fit.frame.handler in _ABOUT_ALL else classes[-1]
        subject = subject or classes[-1]
    objects = tuple(k for t in clause.tokens if "OBJ" in t.cats for k in t.cats["OBJ"].kinds) or context.objects
    place = context.place
    span = fit.slots.get("r")
    if span is not None:
        regions = [p for t in clause.tokens[span[0] : span[1]] if t.has("REGION") for p in t.cats["REGION"]]
        place = regions[0] if len(regions) == 1 else place
    del claims
    scopes = clause.scopes
    if ("q" in clause.slots or "z" in clause.slots) and not fit.frame.handler.startswith("allbut"):
        scopes = clause.places("z" if "z" in clause.slots else "q")
    elif fit.frame.handler == "allbut":
        scopes = clause.places("r")  # '..., where grass leads'
    elif "r" in clause.slots and any(t.has("REGION") for t in clause.part("r")):
        scopes = clause.places("r")
    return Context(
        scopes=scopes,
        fronted=context.fronted or fronted,
        place=place,
        subject=subject,
        objects=objects,
        taken=tuple(dict.fromkeys((*context.taken, *(c for names in classes for c in names)))),
        listed=listed or context.listed,
        last=fit.frame.handler,
    )
