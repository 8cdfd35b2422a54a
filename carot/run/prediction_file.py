"""A file of predictions: written in row groups, and there once it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from carot.atomic_write import NO_SPACE
from carot.errors import NoSpace

GROUP_ROWS = 10_000
GROUP_BYTES = 64 << 20


class Groups:
    """Collects rows to row groups that are worth one, and no larger than memory likes."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        """Take some rows."""
        self._waiting.append(rows)
        waiting = sum(len(each) for each in self._waiting)
        if waiting >= GROUP_ROWS or sum(each.nbytes for each in self._waiting) >= GROUP_BYTES:
            self._flush()

    def close(self, metadata: dict[str, str]) -> None:
        """Write what waits, and what is to be said of the whole."""
        self._flush()
        self._writer.add_key_value_metadata(metadata)

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(rows, row_group_size=len(rows))
        self._waiting = []


@contextmanager
def written(final: Path, schema: pa.Schema) -> Iterator[Groups]:
    """A file that is there once it is whole."""
    temporary = final.with_name(final.name + ".writing")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            yield Groups(writer)
        temporary.replace(final)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise NoSpace("no space left on the disk to write the predictions") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
