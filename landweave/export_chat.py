"""Chats for fine-tuning: conversations of questions and captions, with the pictures that they speak of beside them.

Three forms of the same rows. `data/*.parquet`: `messages` with content in parts and `images` as pictures, as TRL's
trainers and `datasets` take them. `SPLIT.jsonl`: `messages` with `<image>` in the text and `images` as paths, as
LLaMA-Factory and ms-swift (Qwen-VL) read them. `llava/SPLIT.json`: `conversations` of human and gpt, as LLaVA's scripts
read them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from landweave.documents import head_lines, hub_head
from landweave.errors import ExportError
from landweave.export import place, write
from landweave.plain import markdown
from landweave.render import encoded, picture
from landweave.texts import conversations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from landweave.dataset import Dataset
    from landweave.export import Job
    from landweave.layout import Json
    from landweave.questions import Question
    from landweave.sample import Sample

FILE_BYTES = 1 << 28
_SPLITS = {"val": "validation"}
"""The Hub's names of splits."""
_ASK = (
    "Describe this image.",
    "Write a caption for this satellite image.",
    "What does this image show?",
    "Describe the scene in a short paragraph.",
    "Give a caption of this scene.",
    "Say what can be seen here.",
)
"""What a caption answers."""
_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(_PART))])
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXT = {"dtype": "string", "_type": "Value"}
_FEATURES: Json = {
    "id": _TEXT,
    "sample_id": _TEXT,
    "task": _TEXT,
    "messages": {
        "feature": {"role": _TEXT, "content": {"feature": {"type": _TEXT, "text": _TEXT}, "_type": "List"}},
        "_type": "List",
    },
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "masks": {"feature": _TEXT, "_type": "List"},
}
"""datasets' features of the columns."""
_YAML: list[Json] = [
    *({"name": name, "dtype": "string"} for name in ("id", "sample_id", "task")),
    {
        "name": "messages",
        "list": [
            {"name": "role", "dtype": "string"},
            {"name": "content", "list": [{"name": "type", "dtype": "string"}, {"name": "text", "dtype": "string"}]},
        ],
    },
    {"name": "images", "list": "image"},
    {"name": "masks", "list": "string"},
]
"""The same in the YAML of a dataset card."""
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("sample_id", pa.string()),
        ("task", pa.string()),
        ("messages", pa.list_(_MESSAGE)),
        ("images", pa.list_(_PICTURE)),
        ("masks", pa.list_(pa.string())),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}}, sort_keys=True)},
)


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation."""

    id: str
    """'SAMPLE-q3', 'SAMPLE-c0'."""
    sample_id: str
    split: str
    """As the Hub calls it."""
    task: str
    """Of the first question; 'caption' for a caption."""
    turns: tuple[tuple[str, str], ...]
    """(question, answer) by turns."""
    pictures: dict[str, bytes]
    """Path below images/SPLIT -> PNG."""
    masks: tuple[str, ...]
    """COCO run lengths, JSON, in the order of <mask> in the texts."""

    @property
    def paths(self) -> list[str]:
        """Of its pictures, from the export's root."""
        return [f"images/{self.split}/{name}" for name in self.pictures]


def require() -> None:
    """Raises ModuleNotFoundError where Pillow is missing."""
    import PIL  # noqa: F401


def check(dataset: Dataset) -> None:
    """Raises ExportError where the dataset has no text."""
    if dataset.spec.questions is None and not any(s.captions for s in dataset):
        raise ExportError(
            f"{dataset.spec.name} has neither questions nor captions: build it with `questions: {{kind: questions}}`"
        )


def records(dataset: Dataset, ids: Sequence[str], job: Job) -> Iterator[Chat]:
    """Conversations of these samples; those about layers that are not exported are left out."""
    layers = {array.group for array in job.arrays}
    for name in ids:
        sample = dataset.sample(name)
        pictures: dict[str, bytes] = {}
        split = _SPLITS.get(sample.split, sample.split)
        for turns in conversations(sample.questions):
            if {look.partition("/")[0] for q in turns for look in q.layers} <= layers:
                yield _asked(sample, split, turns, pictures)
        yield from _captions(sample, split, layers, pictures)


def _asked(sample: Sample, split: str, turns: Sequence[Question], pictures: dict[str, bytes]) -> Chat:
    looks = dict.fromkeys(look for q in turns for look in q.layers)
    shown = _pictures(sample, looks, pictures)
    return Chat(
        id=f"{sample.id}-q{turns[0].dialogue}",
        sample_id=sample.id,
        split=split,
        task=turns[0].task,
        turns=tuple((q.text, q.answer) for q in turns),
        pictures=shown,
        masks=tuple(q.mask for q in turns if q.mask),
    )


def _captions(sample: Sample, split: str, layers: set[str], pictures: dict[str, bytes]) -> Iterator[Chat]:
    """A chat for each caption, about the first date of the first layer of images that the sample has."""
    images = [g for g in sample.spec.groups if g.is_input and g.dated and g.name in layers]
    look = next((f"{g.name}/{i}" for g in images for i, there in enumerate(sample.present[g.name]) if there), None)
    for number, caption in enumerate(sample.captions if look is not None else ()):
        draw = hashlib.sha256(f"{sample.id}/{number}".encode()).digest()[0]
        turns = ((_ASK[draw % len(_ASK)], caption.text),)
        shown = _pictures(sample, dict.fromkeys([str(look)]), pictures)
        yield Chat(f"{sample.id}-c{number}", sample.id, split, "caption", turns, shown, ())


def _pictures(sample: Sample, looks: dict[str, None], drawn: dict[str, bytes]) -> dict[str, bytes]:
    """The pictures of what is looked at, each drawn once for a sample; dates that it lacks have none."""
    found = {}
    for look in looks:
        group, _, slot = look.partition("/")
        name, number = f"{sample.id}-{look.replace('/', '-')}.png", int(slot or 0)
        slots = sample.present.get(group, ())
        if number < len(slots) and slots[number]:
            if name not in drawn:
                drawn[name] = encoded(picture(sample, sample.spec.group(group), number), "PNG")
            found[name] = drawn[name]
    return found


def write_part(folder: Path, records: Iterator[Chat], job: Job) -> None:
    """One Parquet file, the lines of both other forms, and the pictures."""
    del job
    (folder / "images").mkdir()
    lines = (folder / "part.jsonl").open("x", encoding="utf-8")
    llava = (folder / "part.llava").open("x", encoding="utf-8")
    with lines, llava, pq.ParquetWriter(folder / "part.parquet", _SCHEMA, compression="zstd") as table:
        rows: list[Json] = []
        for chat in records:
            for name, raw in chat.pictures.items():
                if not (folder / "images" / name).exists():
                    (folder / "images" / name).write_bytes(raw)
            lines.write(json.dumps(_line(chat), ensure_ascii=False) + "\n")
            llava.write(json.dumps(_llava(chat), ensure_ascii=False) + "\n")
            rows.append(_row(chat))
            if len(rows) == _ROWS:
                table.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows = []
        if rows:
            table.write_table(pa.Table.from_pylist(rows, _SCHEMA))


_ROWS = 500
"""Of a row group: some ten megabytes with their pictures."""


def _row(chat: Chat) -> Json:
    """Content in parts: pictures before the first question."""
    messages = []
    for number, (question, answer) in enumerate(chat.turns):
        parts: list[Json] = [{"type": "image", "text": None} for _ in chat.pictures] if number == 0 else []
        messages.append({"role": "user", "content": [*parts, {"type": "text", "text": question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    images = [{"bytes": raw, "path": path} for raw, path in zip(chat.pictures.values(), chat.paths, strict=True)]
    return {
        "id": chat.id,
        "sample_id": chat.sample_id,
        "task": chat.task,
        "messages": messages,
        "images": images,
        "masks": list(chat.masks),
    }


def _with_images(chat: Chat) -> list[tuple[str, str]]:
    """Turns with `<image>` before the first question, once for each picture."""
    first = "<image>\n" * len(chat.pictures)
    return [(first + q if n == 0 else q, a) for n, (q, a) in enumerate(chat.turns)]


def _line(chat: Chat) -> Json:
    roles = ("user", "assistant")
    messages = [{"role": r, "content": t} for turn in _with_images(chat) for r, t in zip(roles, turn, strict=True)]
    more: Json = {"masks": [json.loads(m) for m in chat.masks]} if chat.masks else {}
    about = {"id": chat.id, "sample_id": chat.sample_id, "task": chat.task}
    return {**about, "messages": messages, "images": chat.paths, **more}


def _llava(chat: Chat) -> Json:
    roles = ("human", "gpt")
    said = [{"from": r, "value": t} for turn in _with_images(chat) for r, t in zip(roles, turn, strict=True)]
    image: Any = chat.paths[0] if len(chat.paths) == 1 else chat.paths
    return {"id": chat.id, **({"image": image} if chat.paths else {}), "conversations": said}


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`data/train-00000-of-00002.parquet`, `train.jsonl`, `llava/train.json`, `images/train/`."""
    del job
    name = _SPLITS.get(split, split)
    for number, part in enumerate(parts):
        place(part / "part.parquet", root, f"data/{name}-{number:05d}-of-{len(parts):05d}.parquet")
        for image in sorted((part / "images").iterdir()):
            place(image, root, f"images/{name}/{image.name}")
    (root / "llava").mkdir(exist_ok=True)
    with (root / f"{name}.jsonl").open("x", encoding="utf-8") as lines:
        for part in parts:
            lines.writelines((part / "part.jsonl").open(encoding="utf-8"))
    with (root / "llava" / f"{name}.json").open("x", encoding="utf-8") as listed:
        listed.write("[\n")
        before = ""
        for part in parts:
            for line in (part / "part.llava").open(encoding="utf-8"):
                listed.write(before + line.rstrip("\n"))
                before = ",\n"
        listed.write("\n]\n")


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """Write the dataset card."""
    about = job.about
    head = hub_head(about["licence"], about["dataset"], sum(splits.values()))
    files = [{"split": _SPLITS.get(s, s), "path": f"data/{_SPLITS.get(s, s)}-*"} for s in splits]
    head["configs"] = [{"config_name": "default", "data_files": files}]
    head["dataset_info"] = {"config_name": "default", "features": _YAML}
    lines = [
        *head_lines(head),
        f"# {markdown(' '.join(about['dataset'].split()))}: chats",
        "",
        markdown(about["description"]),
        "",
        "Questions, answers and captions about the pictures of each sample. `data/`: Parquet with pictures (TRL,",
        "`datasets`). `SPLIT.jsonl`: messages with paths of pictures (LLaMA-Factory, ms-swift). `llava/`: LLaVA's",
        "form. `<mask>` in a text stands for an entry of `masks`: COCO's uncompressed run lengths on the label's grid.",
        "Boxes are [left, top, right, lower] in thousandths of the picture's edge.",
        "",
        f"Licences of the inputs: {', '.join(markdown(name) for name in about['licences'])}.",
        *(f"- {markdown(' '.join(line.split()))}" for line in about["attribution"]),
    ]
    write(root, "README.md", "\n".join(lines) + "\n")
