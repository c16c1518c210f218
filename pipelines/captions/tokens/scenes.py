"""Words for the scene, with what their adjectives claim."""

from __future__ import annotations

from landweave.claims import EVERYTHING, Claim
from pipelines.captions.tokens.covers import LEAST_NAMED, Cover, classes_of, worth_naming
from pipelines.captions.tokens.token import PREPOSITIONS, SEPARATORS, Token

_OF_SCENES = frozenset(
    ("LEN", "relief", "place", "season", "rural", "adverb", "adj", "COVER", "scene", "hills", "plain", "heightword")
)
"""Categories of which a token that begins a scene, with its adjectives, has one."""


def scenes(tokens: list[Token]) -> list[Token]:
    """Adjectives and a word for the scene -> SCENE, with what the adjectives claim."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        if _OF_SCENES.isdisjoint(tokens[i].cats):
            found.append(tokens[i])
            i += 1
            continue
        end, claims = _scene_adjectives(tokens, i)
        if end < len(tokens) and (
            tokens[end].has("scene") or (tokens[end].has("hills") and _hills_end(tokens, i, end))
        ):
            token = tokens[end]
            if token.has("hills"):
                claims.append(Claim("relief", ("relief",), against=(str(token.cats["hills"]),), words=token.words))
            strong = token.cats.get("scene") == "strong"
            words = " ".join(t.words for t in tokens[i : end + 1])
            cats = {k: v for k, v in token.cats.items() if k not in ("scene", "suffix")}
            if end > i:
                cats = {}
            if found and found[-1].word("a", "an"):
                found.pop()
            found.append(Token({**cats, "SCENE": strong}, words, claims))
            i = end + 1
        else:
            found.append(tokens[i])
            i += 1
    return _scenes_of(found)


def _hills_end(tokens: list[Token], i: int, end: int) -> bool:
    """'hilly area', alone or behind adjectives and a stop: 'forested, hilly area'."""
    if not tokens[end].has("hills"):
        return False
    if end == i or (tokens[end - 1].word(",", "and") and tokens[end].words.split()[0] in _HILLY):
        return True
    return all(any(t.has(c) for c in ("adj", "rural", "plain", "place")) for t in tokens[i:end])


_HILLY = ("hilly", "mountainous", "flat", "rolling", "level", "undulating")


def _scene_adjectives(tokens: list[Token], i: int) -> tuple[int, list[Claim]]:
    j, claims = _sized(tokens, i)
    while j < len(tokens):
        token = tokens[j]
        own = _own_claim(tokens, j)
        if own is not None:
            claims.append(own)
        elif token.has("adverb") and j + 1 < len(tokens) and tokens[j + 1].has("adj"):
            low, high = token.cats["adverb"]
            name = str(tokens[j + 1].cats["adj"])
            claims.append(Claim("share", classes_of(name), (), low, high, words=f"{token.words} {tokens[j + 1].words}"))
            j += 1
        elif _names_scene(tokens, j):
            claims += [*token.claims, Claim("character", token.cats["COVER"].classes, (), 1.0, words=token.words)]
        elif not (token.has("plain") or _joins_adjectives(tokens, j, claims)):
            break
        j += 1
    return j, claims


def _own_claim(tokens: list[Token], j: int) -> Claim | None:
    """What an adjective before a word for the scene claims: 'hilly', 'tropical', 'rural', 'low-lying', 'wooded'."""
    token = tokens[j]
    for name in ("relief", "place", "season"):
        if token.has(name) and (name != "season" or (j + 1 < len(tokens) and tokens[j + 1].has("scene"))):
            return Claim(name, (name,), against=(str(token.cats[name]),), words=token.words)
    if token.has("rural"):
        return Claim("share", ("built",), (), 0.0, 15.0, words=token.words)
    if token.has("heightword") and not token.has("plain"):
        return height_claim(str(token.cats["heightword"]), token.words)
    if token.has("adj"):
        return Claim("character", classes_of(str(token.cats["adj"])), (), 1.0, words=token.words)
    return None


_LOWLAND_M, _HIGHLAND_M = 300.0, 700.0
"""Metres that elevations called low do not exceed, and that those called high do."""


_NEAR_SEA_M = 30.0
"""Metres that ground 'close to sea level' does not exceed."""


def height_claim(level: str, words: str) -> Claim:
    """'low-lying', 'elevated': all of the ground."""
    if level in ("low", "sea"):
        most = _LOWLAND_M if level == "low" else _NEAR_SEA_M
        return Claim.spanning("height", ("elevation_max_m",), (), (-EVERYTHING, most), words)
    return Claim.spanning("height", ("elevation_min_m",), (), (_HIGHLAND_M, EVERYTHING), words)


def _joins_adjectives(tokens: list[Token], j: int, claims: list[Claim]) -> bool:
    return tokens[j].word(",", "and") and bool(claims) and _is_scene_adjective(tokens, j + 1)


def _names_scene(tokens: list[Token], j: int) -> bool:
    """'forest scene': a land cover before a word for the scene."""
    if not tokens[j].has("COVER") or j + 1 >= len(tokens) or not tokens[j + 1].has("scene"):
        return False
    cover: Cover = tokens[j].cats["COVER"]
    return cover.span is None and not cover.absent and not tokens[j + 1].has("suffix")


def _sized(tokens: list[Token], i: int) -> tuple[int, list[Claim]]:
    """'1.3 km wide scene', '1.3 km by 1.3 km scene': the edge of the footprint, or nothing."""
    if not tokens[i].has("LEN"):
        return i, []
    j, claims = i + 1, [_edge(tokens[i])]
    if j + 1 < len(tokens) and tokens[j].word("by", "x") and tokens[j + 1].has("LEN"):
        claims.append(_edge(tokens[j + 1]))
        j += 2
    if j + 1 < len(tokens) and tokens[j].has("onside") and not tokens[j].word("across") and tokens[j + 1].has("scene"):
        j += 1
    return (j, claims) if j < len(tokens) and tokens[j].has("scene") else (i, [])


def _edge(token: Token) -> Claim:
    return Claim.spanning("length", ("size_m",), (), token.cats["LEN"], token.words)


def _is_scene_adjective(tokens: list[Token], j: int) -> bool:
    return j < len(tokens) and any(tokens[j].has(c) for c in ("relief", "place", "rural", "adj", "adverb", "hills"))


def _scenes_of(tokens: list[Token]) -> list[Token]:
    """'scene of trees and crops', 'land of scene', 'rest of scene' -> one SCENE."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        i += 1
        token, i = _measured_scene(token, tokens, i)
        if token.has("SCENE") and i + 1 < len(tokens) and tokens[i].has("has") and tokens[i + 1].has("SCENE"):
            other = tokens[i + 1]  # 'the image shows a landscape'
            words = f"{token.words} {tokens[i].words} {other.words}"
            token = Token({"SCENE": True}, words, [*token.claims, *other.claims])
            i += 2
        while token.has("SCENE") and i + 1 < len(tokens) and tokens[i].word("of"):
            if tokens[i + 1].has("SCENE"):
                other = tokens[i + 1]
                strong = bool(token.cats["SCENE"] or other.cats["SCENE"])
                token = Token({"SCENE": strong}, f"{token.words} of {other.words}", [*token.claims, *other.claims])
                i += 2
                continue
            end = _list_end(tokens, i + 1, "COVER")
            if end == i + 1 or _placed_behind(tokens, end) or (token.cats["SCENE"] and _names_objects(tokens, end)):
                break
            if found and (found[-1].has("times") or found[-1].has("exceed") or found[-1].word("times")):
                break  # 'twice the area of trees'
            listed = [t for t in tokens[i + 1 : end] if t.has("COVER")]
            least = LEAST_NAMED if len(listed) < _LONG_LIST else _LEAST_LISTED
            claims = [worth_naming(t, (), least) for t in listed]
            together = tuple(c for t in listed for c in t.cats["COVER"].classes)
            words = " ".join(t.words for t in tokens[i:end])
            if len(listed) == 1 and listed[0].cats["COVER"].span is None:
                claims = [Claim("character", together, (), 1.0, words=words)]
            elif len(listed) > 1:
                claims.append(Claim("share", together, (), 50.0, 100.0, words=words))
            claims += [claim for t in listed for claim in t.claims]  # 'hilly forest' says two things
            token = Token({"SCENE": token.cats["SCENE"]}, f"{token.words} {words}", [*token.claims, *claims])
            i = end
        found.append(token)
    return found


_LONG_LIST, _LEAST_LISTED = 3, 2.0
"""A list of this many land covers says what is there rather than what the scene is; percent that each needs then."""


def _placed_behind(tokens: list[Token], end: int) -> bool:
    """'a view of trees and crops in the top left': the land covers are those of a part."""
    behind = [t for t in tokens[end : end + 3] if not t.word("a", "an")]
    return len(behind) > 1 and behind[0].words in PREPOSITIONS and behind[1].has("REGION")


def _names_objects(tokens: list[Token], end: int) -> bool:
    """Whether a list of land covers goes on with map objects: 'trees, buildings and a river'."""
    k = end
    while k < len(tokens) and tokens[k].word(*SEPARATORS, "a", "an"):
        k += 1
    return end < k < len(tokens) and tokens[k].has("OBJ")


def _measured_scene(token: Token, tokens: list[Token], i: int) -> tuple[Token, int]:
    """'area of 1.28 km by 1.28 km': a scene with its edges."""
    if not (token.has("SCENE") and i + 1 < len(tokens) and tokens[i].word("of") and tokens[i + 1].has("LEN")):
        return token, i
    claims, k = [_edge(tokens[i + 1])], i + 2
    if k + 1 < len(tokens) and tokens[k].word("by", "x") and tokens[k + 1].has("LEN"):
        claims.append(_edge(tokens[k + 1]))
        k += 2
    elif k < len(tokens) and tokens[k].has("onside"):
        k += 1
    else:
        return token, i
    words = " ".join(t.words for t in tokens[i:k])
    return Token({"SCENE": token.cats["SCENE"]}, f"{token.words} {words}", [*token.claims, *claims]), k


def _list_end(tokens: list[Token], i: int, category: str) -> int:
    """End of 'x, y and z' that begins at i; i if there is none. A comma alone does not end a list."""
    if i >= len(tokens) or not tokens[i].has(category):
        return i
    end = j = i + 1
    while j < len(tokens) and tokens[j].word(*SEPARATORS):
        while j < len(tokens) and tokens[j].word(*SEPARATORS):
            j += 1
        if j >= len(tokens) or not tokens[j].has(category):
            break
        j += 1
        if not tokens[j - 2].word(",") or category == "REGION":
            end = j
    return end
