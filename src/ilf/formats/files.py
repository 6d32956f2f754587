"""Rows of the files that data sets come in: JSONL, a JSON list, CSV, Parquet, and folders of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ilf.errors import DataError, MissingDependency
from ilf.records import read_rows

Row = dict[str, Any]

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".parquet")
"""Of files that are read."""


def is_data(path: Path) -> bool:
    """Whether a file's name says that it holds rows."""
    return path.name.endswith(ENDINGS)


def ordinal(place: str) -> int:
    """The number in `line 3` or `row 3`."""
    return int(place.rpartition(" ")[2])


def read(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (`line N` or `row N`, row) of a file, or of all files of a folder in the hub's layout.

    Raises:
        DataError: no such file, or it is not what its ending says; it names the file and the line.
        MissingDependency: a Parquet file without `pyarrow` installed.
    """
    if path.is_dir():
        yield from _folder(path)
    elif path.name.endswith(".csv"):
        yield from _csv(path)
    elif path.name.endswith(".parquet"):
        yield from _parquet(path)
    else:
        yield from read_rows(path)


def data_files(folder: Path) -> Sequence[Path]:
    """The files with rows below a folder, in the order of their paths; hidden ones are passed over."""
    found = (path for path in folder.rglob("*") if path.is_file() and is_data(path))
    return sorted(
        path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


def _folder(folder: Path) -> Iterator[tuple[str, Row]]:
    # As a clone of a data set of the hub has it: data/train-00000-of-00001.parquet, or test.jsonl.
    number = 0
    for path in data_files(folder):
        for _, row in read(path):
            number += 1
            yield f"row {number}", row
    if not number:
        raise DataError(f"{folder}: a folder without rows in it ({', '.join(ENDINGS)} are read)")


def _csv(path: Path) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(1 << 30)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(reader.fieldnames or ())} cells were expected"
                    )
                yield f"line {reader.line_num}", {name: _cell(text) for name, text in row.items()}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    except csv.Error as error:
        raise DataError(f"{path}: not CSV: {error}") from None


def _cell(text: str) -> Any:
    """A cell; a list or an object in JSON is one, an empty cell is absent."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text or None


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]
        import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingDependency("pyarrow is not installed: pip install 'ilf[hub]'") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {str(error).partition(chr(10))[0]}") from None
