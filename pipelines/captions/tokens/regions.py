"""Parts of the scene."""

from __future__ import annotations

from landweave.facts import REGIONS
from pipelines.captions.tokens.token import PREPOSITIONS, Token

_CODES = {"tl": "top left", "tr": "top right", "bl": "bottom left", "br": "bottom right", "mid": "middle"}


def regions(tokens: list[Token]) -> list[Token]:
    """'top left corner of scene' -> REGION; 'upper half of western side' -> their intersection."""
    if not any("region" in t.cats for t in tokens):
        return tokens
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if not token.has("region"):
            found.append(token)
            i += 1
            continue
        end = i + 1
        while end < len(tokens):
            if _of_region(tokens, end):
                end += 1
            elif tokens[end].word("of") and end + 1 < len(tokens) and tokens[end + 1].has("scene"):
                end += 2
            else:
                break
        words = " ".join(t.words for t in tokens[i:end])
        value = _region_value(str(token.cats["region"]))
        if found and len(found) >= 2 and found[-1].word("of", "in") and found[-2].has("REGION"):
            inner = found[-2].cats["REGION"]
            both = tuple(p for p in inner[0] if p in value[0])
            if len(inner) == len(value) == 1 and both and len(both) < len(inner[0]):
                found[-2:] = [Token({"REGION": (both,)}, f"{found[-2].words} of {words}")]
                i = end
                continue
        if found and found[-1].has("amount"):  # 'the whole top left' is no word for the scene
            found[-1] = Token({k: v for k, v in found[-1].cats.items() if k != "scene"}, found[-1].words)
        found.append(Token({"REGION": value}, words))
        i = end
    return found


def _of_region(tokens: list[Token], i: int) -> bool:
    """Whether a token adds nothing to the region before it: 'corner', 'half', 'one'."""
    behind = tokens[i + 1 : i + 2]
    return (
        tokens[i].has("partword")
        or tokens[i].word("half", "quarter")
        or (tokens[i].word("one") and not any(t.has("kind") for t in behind))
    )


def _region_value(code: str) -> tuple[tuple[str, ...], ...]:
    """Regions that a claim must hold in: each a tuple of parts whose areas are added."""
    if code == "each":
        return tuple((r,) for r in REGIONS)
    if code == "quarters":
        return tuple((r,) for r in REGIONS if r != "middle")
    return tuple(tuple(_CODES[c] for c in part.split("+")) for part in code.split("/"))


def lists_of_regions(tokens: list[Token]) -> list[Token]:
    """'top left and middle' -> one REGION that holds of each; 'bottom left and right' means the bottom right."""
    if not any("REGION" in t.cats for t in tokens):
        return tokens
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        end = _region_list(tokens, i)
        if end <= i + 1:
            found.append(tokens[i])
            i += 1
            continue
        value: list[tuple[str, ...]] = []
        for token in tokens[i:end]:
            if token.has("REGION"):
                value += [_like(value[-1], part) if value else part for part in token.cats["REGION"]]
        words = " ".join(t.words for t in tokens[i:end])
        found.append(Token({"REGION": tuple(value)} if len(set(value)) == len(value) else {}, words))
        i = end
    return found


def _region_list(tokens: list[Token], i: int) -> int:
    start = i + 1 if tokens[i].word("both", "either") and i + 1 < len(tokens) else i
    if not tokens[start].has("REGION"):
        return i
    end = j = start + 1
    while j < len(tokens):
        k = j
        while k < len(tokens) and (tokens[k].word("and", ",", "both", "or") or (k > j and tokens[k].word("in"))):
            k += 1
        if k == j or k >= len(tokens) or not tokens[k].has("REGION") or _begins_clause(tokens, i, k):
            break
        if tokens[i - 1].has("compared") and i:
            break
        end = j = k + 1
    return end


def _begins_clause(tokens: list[Token], i: int, k: int) -> bool:
    """'most of the top left, and the bottom left is': the place at k is the subject of its own verb."""
    behind = tokens[k + 1 : k + 2]
    placed = i > 1 and tokens[i - 1].words in PREPOSITIONS and tokens[i - 2].words != ","
    return placed and any(t.has("be") or t.has("hold") or t.has("has") for t in behind)


def _like(last: tuple[str, ...], part: tuple[str, ...]) -> tuple[str, ...]:
    """'bottom left and right': a half behind a quarter is the quarter of the same row."""
    if len(last) == 1 and len(part) == 2 and last[0] != "middle":
        row = last[0].split()[0]
        same = tuple(p for p in part if p.startswith(row))
        return same if len(same) == 1 else part
    return part
