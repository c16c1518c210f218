"""What a clause claims: one handler for each name in `frames.txt`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.captions.meaning.comparisons import (
    asmuch,
    asmuchplace,
    balanced,
    equal,
    exceed,
    exceedall,
    less,
    more,
    moreplace,
    morethan,
    times,
    timesplace,
)
from pipelines.captions.meaning.ground import (
    again,
    capped,
    ends,
    heights,
    high,
    level,
    low,
    relief,
    slope,
    slopeexceeds,
    span,
)
from pipelines.captions.meaning.objects import counted, length, moreobjects, mostobjects, onlyobjects, timesobjects
from pipelines.captions.meaning.places import (
    allbut,
    allbutpresent,
    confined,
    extreme,
    extremeshare,
    giveway,
    moststands,
    onlypart,
    onlywithout,
    otherparts,
    thin,
    thinfrom,
    thintowards,
)
from pipelines.captions.meaning.presence import absent, absentfrom, elsewhere, notin, onlykinds, pictured, present, rare
from pipelines.captions.meaning.ranks import chain, followed, lead, rank, rankafter, rankpairs, rankshare, second
from pipelines.captions.meaning.scene import area, bare_scene, season, size, time
from pipelines.captions.meaning.shares import (
    adjective,
    consist,
    exceedshare,
    howmany,
    mixed,
    mostly,
    onlycovers,
    rangeacross,
    rangeshare,
    respective,
    respectivelast,
    restholds,
    share,
    sharelist,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from landweave.claims import Claim
    from pipelines.captions.meaning.clause import Clause


HANDLERS: dict[str, Callable[[Clause], list[Claim] | None]] = {
    "share": share, "sharelist": sharelist, "respective": respective, "balanced": balanced, "spread": spread,
    "mostly": mostly, "adjective": adjective, "bare_scene": bare_scene, "consist": consist, "mixed": mixed,
    "restholds": restholds, "present": present, "rare": rare, "absent": absent, "rank": rank, "second": second,
    "lead": lead, "followed": followed, "chain": chain, "exceed": exceed, "more": more, "moreplace": moreplace,
    "times": times, "timesplace": timesplace, "asmuch": asmuch, "asmuchplace": asmuchplace, "less": less,
    "equal": equal, "extreme": extreme, "moststands": moststands, "onlypart": onlypart, "allbut": allbut,
    "thin": thin, "giveway": giveway, "sum": share, "length": length, "span": span, "level": level, "low": low,
    "high": high, "range": heights, "slope": slope, "respectivelast": respectivelast, "notin": notin,
    "morethan": morethan, "exceedall": exceedall, "rankshare": rankshare, "confined": confined, "capped": capped,
    "slopeexceeds": slopeexceeds, "absentfrom": absentfrom, "rankafter": rankafter, "onlycovers": onlycovers,
    "thinfrom": thinfrom, "allbutpresent": allbutpresent, "howmany": howmany, "again": again,
    "rangeshare": rangeshare, "rangeacross": rangeacross, "otherparts": otherparts, "onlywithout": onlywithout,
    "timesobjects": timesobjects, "exceedshare": exceedshare, "extremeshare": extremeshare, "rankpairs": rankpairs,
    "onlykinds": onlykinds, "elsewhere": elsewhere, "thintowards": thintowards, "moreobjects": moreobjects,
    "mostobjects": mostobjects, "onlyobjects": onlyobjects, "counted": counted, "ends": ends, "relief": relief,
    "size": size, "area": area, "time": time, "season": season, "pictured": pictured,
}  # fmt: skip
"""Name in `frames.txt` -> handler."""
