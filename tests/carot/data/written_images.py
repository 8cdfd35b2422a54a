"""The same labelled images as files, as WebDataset shards and as Parquet files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Picture = tuple[str, str, bytes]  # key, class, encoded


def pictures(root: Path) -> dict[str, list[Picture]]:
    """The images at `split/class/name.png`, by split, in the order in which a folder is read."""
    found = {}
    for split in sorted(root.iterdir()):
        paths = sorted(split.glob("*/*"))
        found[split.name] = [
            (path.relative_to(root).as_posix(), path.parent.name, path.read_bytes())
            for path in paths
        ]
    return found


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """A tar of these files, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def members(images: Iterable[Picture], classes: Sequence[str]) -> list[tuple[str, bytes]]:
    """The files of a shard: `KEY.png` and `KEY.cls` with the class index."""
    listed = []
    for key, name, content in images:
        stem = key.partition(".")[0]
        listed += [(f"{stem}.png", content), (f"{stem}.cls", str(classes.index(name)).encode())]
    return listed


def class_label(classes: Sequence[str], column: str = "label") -> dict[str, str]:
    """The schema metadata that Hugging Face datasets write."""
    feature = {"names": list(classes), "_type": "ClassLabel"}
    info = {"info": {"features": {"image": {"_type": "Image"}, column: feature}}}
    return {"huggingface": json.dumps(info)}


def write_parquet(
    path: Path,
    contents: Sequence[bytes | None],
    labels: Sequence[Any],
    *,
    metadata: dict[str, str] | None = None,
    rows: int = 100,
    plain: bool = False,
    columns: tuple[str, str] = ("image", "label"),
) -> Path:
    """A Parquet file with `rows` images in a row group; `plain` without the struct around them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if plain:
        images = pa.array(contents, pa.binary())
    else:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        structs = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(contents)]
        images = pa.array(structs, kind)
    table = pa.table(dict(zip(columns, (images, pa.array(labels)), strict=True)))
    pq.write_table(
        table.replace_schema_metadata(metadata), path, row_group_size=rows, use_dictionary=False
    )
    return path
