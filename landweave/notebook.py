"""HTML that notebooks show for datasets, selections, samples and streams. All text of a dataset is escaped."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

from landweave.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def safe(text: object) -> str:
    """The text as HTML that shows as it is."""
    return html.escape(printable(text))


def table_html(heading: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A heading and a table."""
    head = "".join(f"<th>{safe(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{safe(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<p><b>{safe(heading)}</b></p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def sample_html(heading: str, pictures: Iterable[tuple[str, bytes]], captions: Iterable[str]) -> str:
    """A heading, pictures (title, PNG) side by side, and captions."""
    shown = "".join(
        f'<figure style="margin:0 8px 8px 0"><figcaption style="font-size:80%">{safe(title)}</figcaption>'
        f'<img alt="{safe(title)}" width="128" style="image-rendering:pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></figure>'
        for title, png in pictures
    )
    words = "".join(f"<p>{safe(text)}</p>" for text in captions)
    return f'<p><b>{safe(heading)}</b></p><div style="display:flex;flex-wrap:wrap">{shown}</div>{words}'
