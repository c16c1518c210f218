"""A hook of mkdocs: runs the notebooks over data/quickstart, and makes a page of each with what its cells show."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from notebooks.executed import NAMES, executed

DATASET = Path(__file__).parents[1] / "data" / "quickstart"


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs with the files of the site.

    Raises:
        PluginError: the quick start's dataset is not there.
    """
    if not (DATASET / "landweave.json").exists():
        raise PluginError("data/quickstart is not there, and the notebooks show it: run `make quickstart` first")
    for name in NAMES:
        text, pictures = page(name, executed(name))
        files.append(File.generated(config, f"notebooks/{name}.md", content=text))
        for path, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{path}", content=content))
    return files


def page(name: str, notebook: Any) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures: name -> PNG."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            shown = output.get("data", {"text/plain": output.get("text", "")})
            if output.get("name") == "stderr" or not any(shown.values()):
                continue
            if "image/png" in shown:
                path = f"{name}-{len(pictures) + 1}.png"
                pictures[path] = base64.b64decode(shown["image/png"])
                parts.append(f"![what the cell draws]({path})")
            elif "text/html" in shown:
                parts.append(f'<div class="shown">{"".join(shown["text/html"]).strip()}</div>')
            else:
                parts.append(f"```text\n{shown['text/plain'].rstrip()}\n```")
    source = f"This page is `notebooks/{name}.ipynb`, run over the dataset of `make quickstart`."
    return "\n\n".join([parts[0], source, *parts[1:]]) + "\n", pictures
