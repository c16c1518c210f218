"""Files over HTTP: one or several byte ranges, conditional requests, HEAD (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import hashlib
import re
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Span = tuple[int, int]
"""First and last byte, both inclusive."""
MAX_RANGES = 64
"""More ranges than this in one request are answered with the whole file, as RFC 9110 section 14.2 allows."""
_BOUNDARY = "landweave-testbed-range"
_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".png": "image/png",
    ".xml": "application/xml",
}


def content_type(path: str) -> str:
    """Media type by the ending of a path; '.osm.pbf' and what is unknown are octet streams."""
    return next((v for k, v in _TYPES.items() if path.lower().endswith(k)), "application/octet-stream")


def parse_ranges(header: str, size: int) -> list[Span] | None:
    """Ranges of a Range header that a file of `size` bytes can satisfy.

    Returns:
        Spans in the order asked; an empty list where none can be satisfied (416); None if the header is not a valid
        byte range and is to be ignored (whole file).
    """
    if not re.fullmatch(r"bytes=\s*(\d*-\d*)(\s*,\s*(\d*-\d*))*\s*", header):
        return None
    spans: list[Span] = []
    pieces = header.removeprefix("bytes=").split(",")
    if len(pieces) > MAX_RANGES:
        return None
    for piece in pieces:
        first, last = piece.strip().split("-")
        if not first and not last:
            return None
        if first and last and int(last) < int(first):
            return None
        if not first:
            start, end = max(0, size - int(last)), size - 1
            if int(last) == 0:
                continue
        else:
            start, end = int(first), min(int(last), size - 1) if last else size - 1
        if start < size:
            spans.append((start, end))
    return spans


def _unmodified(if_range: str, etag: str, modified: str) -> bool:
    if if_range.startswith(("W/", '"')):
        return if_range == etag
    try:
        return parsedate_to_datetime(if_range) == parsedate_to_datetime(modified)
    except ValueError:
        return False


def _read(path: Path, span: Span) -> bytes:
    with path.open("rb") as file:
        file.seek(span[0])
        return file.read(span[1] - span[0] + 1)


def _multipart(path: Path, spans: list[Span], size: int, kind: str) -> bytes:
    parts: list[bytes] = []
    for start, end in spans:
        head = f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Range: bytes {start}-{end}/{size}\r\n\r\n"
        parts += [head.encode(), _read(path, (start, end)), b"\r\n"]
    return b"".join((*parts, f"--{_BOUNDARY}--\r\n".encode()))


def file_answer(path: Path, asked: Mapping[str, str], kind: str, head: bool) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers for one file.

    Args:
        path: the file.
        asked: request headers, names in lower case.
        kind: its media type.
        head: True = no body is read.

    Returns:
        200 whole, 206 partial, 304, 412 or 416, with ETag, Last-Modified and Accept-Ranges.
    """
    stat = path.stat()
    size = stat.st_size
    etag = '"' + hashlib.sha256(f"{path}|{size}|{stat.st_mtime_ns}".encode()).hexdigest()[:20] + '"'
    modified = formatdate(stat.st_mtime, usegmt=True)
    headers = {"Accept-Ranges": "bytes", "ETag": etag, "Last-Modified": modified, "Content-Type": kind}
    tags = [t.strip() for t in asked.get("if-none-match", "").split(",")]
    if etag in tags or tags == ["*"]:
        return 304, b"", headers
    wanted = [t.strip() for t in asked.get("if-match", "").split(",")]
    if wanted not in ([""], ["*"]) and etag not in wanted:
        return 412, b"", headers
    spans = parse_ranges(asked["range"], size) if "range" in asked else None
    if "if-range" in asked and not _unmodified(asked["if-range"], etag, modified):
        spans = None
    if head or spans is None:
        headers["Content-Length"] = str(size)
        return 200, b"" if head else path.read_bytes(), headers
    if not spans:
        return 416, b"", headers | {"Content-Range": f"bytes */{size}"}
    if len(spans) == 1:
        start, end = spans[0]
        return 206, _read(path, spans[0]), headers | {"Content-Range": f"bytes {start}-{end}/{size}"}
    body = _multipart(path, spans, size, kind)
    return 206, body, headers | {"Content-Type": f"multipart/byteranges; boundary={_BOUNDARY}"}
