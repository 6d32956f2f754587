"""`ilf runs`: what is in the run and study folders, and two of them side by side.

Only small files are read (settings, manifest, results), so that it answers at once on a hundred folders. A
folder that cannot be read is one line of the answer and does not keep the others from being shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ilf.errors import DataError, UserError
from ilf.metrics import MEAN_R, Comparison, Estimate, Evaluation
from ilf.report.load import differing, read_config, read_evaluation, stages
from ilf.runfolder import Manifest, RoundFolder, RunFolder
from ilf.study.report import CONFIG, RESULTS, is_study

DEFAULT = (Path("runs"), Path("studies"))
State = Literal["finished", "unfinished", "waiting", "broken", "foreign"]


@dataclass(frozen=True)
class Rate:
    """pass@k of one model on the held-out tasks."""

    metric: str
    value: float
    low: float
    high: float
    tasks: int
    samples: int


@dataclass
class Summary:
    """One folder."""

    folder: str
    kind: Literal["run", "study"] | None = None
    name: str | None = None
    state: State = "foreign"
    step: str | None = None
    """The step that comes next, where it is not finished."""
    problem: str | None = None
    """Why it cannot be read, where it is broken or foreign."""
    model: str | None = None
    tasks: str | None = None
    """The task source."""
    feedback: int | None = None
    """Items, over all rounds; of a study, over all seeds and each once."""
    results: dict[str, Rate] = field(default_factory=dict)
    """Model or arm → its rate; the untuned model first."""
    final: str | None = None
    """Which of the results is the fine-tuned model's (a study: arm ILF's)."""
    seconds: float | None = None
    """Spent in steps, interrupted ones included."""


def runs(words: Sequence[str]) -> tuple[Any, str]:
    """The answer of `ilf runs`: for machines, and as text.

    Args:
        words: folders to look at (each a run or study folder, or one that holds such), runs/ and studies/ by
            default; or `compare`, A, B.

    Raises:
        UserError: a folder is not there; `compare` without two folders, or with one that cannot be read.
    """
    if words and words[0] == "compare":
        if len(words) != 3:
            raise UserError(
                f"ilf runs compare takes two folders, got {len(words) - 1}: ilf runs compare runs/a runs/b"
            )
        compared = compare(Path(words[1]), Path(words[2]))
        return compared, _compared_text(compared)
    found = [summary(path) for path in folders([Path(word) for word in words])]
    return found, _list_text(found) if found else "no runs here yet: `ilf run` makes runs/starter"


def row_of(path: Path) -> dict[str, Any]:
    """A run's or study's row as a mapping; of a run that was evaluated also what its last round found."""
    found = asdict(summary(path))
    last = [files.evaluation for files in RunFolder(path).rounds() if files.evaluation.is_file()][-1:]
    for file in last:
        from ilf.terminal import pays

        raw = json.loads(file.read_text(encoding="utf-8"))
        found |= {"paired": raw["paired"], "control": raw.get("control"), "says": pays(raw)}
    return found


def folders(given: Sequence[Path]) -> list[Path]:
    """The folders to summarise, by name: those given that hold settings, and what lies in the others.

    Raises:
        DataError: a folder that was given is not there.
    """
    found: list[Path] = []
    for path in given or [path for path in DEFAULT if path.is_dir()]:
        if not path.is_dir():
            raise DataError(f"{path}: no such folder")
        inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")
        found += [path] if _is_one(path) or (given and not inside) else inside
    return found


def _is_one(path: Path) -> bool:
    return any((path / name).exists() for name in ("config.toml", CONFIG, "manifest.json"))


def summary(path: Path) -> Summary:
    """What a folder says of itself; what is broken or foreign is said in `problem`, never raised."""
    row = Summary(str(path))
    try:
        if is_study(path):
            row.kind = "study"
            _read_study(path, row)
        elif _is_one(path):
            row.kind = "run"
            _read_run(path, row)
        else:
            row.problem = "not a run or study folder"
    except (UserError, OSError, ValueError, RecursionError) as error:
        row.state, row.problem = "broken", " ".join(str(error).split())
    return row


# --- runs -------------------------------------------------------------------------------------------------


def _read_run(path: Path, row: Summary) -> None:
    folder = RunFolder(path)
    _, config = read_config(folder.config)
    manifest = _manifest(folder)
    _settings(row, config)
    row.seconds = _seconds(manifest)
    rounds = folder.rounds()
    counts = [count for files in rounds if (count := _lines(files.feedback)) is not None]
    row.feedback = sum(counts) if counts else None
    evaluations = stages([read_evaluation(files).arms for files in rounds])
    row.results = {label: rate for label, e in evaluations.items() if (rate := _rate([e])) is not None}
    row.final = [*row.results][-1] if len(row.results) > 1 else None
    row.step = _next_step(folder, manifest, config)
    row.state = "finished" if row.step is None else "unfinished"
    if row.step is not None and row.step.endswith("3-feedback"):
        row.state = "waiting" if _setting(config, "feedback", "source") == "human" else "unfinished"


def _next_step(folder: RunFolder, manifest: Manifest, config: Mapping[str, Any]) -> str | None:
    """The first step that is not done, as `round-1/4-refiner`; None where all are."""
    rounds = config.get("rounds", 1)
    wanted = rounds if isinstance(rounds, int) else 1
    if manifest.stopped is not None:
        wanted = sum(files.evaluation.is_file() for files in folder.rounds())
    for number in range(1, wanted + 1):
        for output in _outputs(folder.round(number)):
            label = f"round-{number}/{output.stem}"
            if label not in manifest.steps or not output.exists():
                return label
    return None


def _outputs(files: RoundFolder) -> list[Path]:
    return [
        files.programs, files.verdicts, files.feedback, files.refiner,
        files.refinements, files.examples, files.model, files.evaluation,
    ]  # fmt: skip


# --- studies ----------------------------------------------------------------------------------------------


def _read_study(path: Path, row: Summary) -> None:
    from ilf.study import statistics
    from ilf.study.results import read_results

    _, config = read_config(path / CONFIG)
    run = config.get("run")
    _settings(row, run if isinstance(run, Mapping) else {})
    row.name = str(config.get("name", path.name))
    manifest = _manifest(RunFolder(path))
    shared_runs = sorted(path.glob("seed-*/run/manifest.json"))
    row.seconds = _seconds(manifest, *(_manifest(RunFolder(file.parent)) for file in shared_runs))
    row.state, row.step = "unfinished", "the run that the arms share"
    if any(summary(file.parent).state == "waiting" for file in shared_runs):
        row.state = "waiting"
    if not (path / RESULTS).is_file():
        return
    results = read_results(path / RESULTS)
    items = statistics.distinct(statistics.all_items(results))
    row.feedback = len(items)
    for result in results.arms:
        rate = _rate([*statistics.evaluations(result).values()])
        if rate is not None:
            row.results[result.arm.name] = rate
    row.final = "ilf" if "ilf" in row.results else None
    seeds = config.get("seeds", [0])
    wanted = len(seeds) if isinstance(seeds, list) else 1
    todo = [r for r in results.arms if not r.skipped and len(r.seeds) < wanted]
    if todo:
        row.step = f"seed {len(todo[0].seeds) + 1} of {wanted}, arm {todo[0].arm.name}"
    elif not RunFolder(path).report.is_file():
        row.step = "the report"
    else:
        row.state, row.step = "finished", None


# --- reading ----------------------------------------------------------------------------------------------


def _settings(row: Summary, config: Mapping[str, Any]) -> None:
    row.name = str(config.get("name", Path(row.folder).name))
    row.model = _text(_setting(config, "model"))
    row.tasks = _text(_setting(config, "tasks", "source"))


def _setting(config: Any, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _manifest(folder: RunFolder) -> Manifest:
    try:
        found = folder.read_manifest()
    except UnicodeDecodeError:
        raise DataError(f"{folder.manifest}: not UTF-8 text") from None
    if found is None:
        raise DataError(f"{folder.manifest}: no such file, so how far it came is not known")
    return found


def _seconds(*manifests: Manifest) -> float:
    return round(
        sum(
            sum(step.seconds for step in manifest.steps.values()) + sum(manifest.partial_seconds.values())
            for manifest in manifests
        ),
        2,
    )


def _lines(path: Path) -> int | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _rate(found: Sequence[Evaluation]) -> Rate | None:
    """The smallest k's rate, over seeds where there are several."""
    tasks = len({task.task_id for evaluation in found for task in evaluation.tasks})
    if len(found) == 1 and (scored := found[0].reward) is not None:
        return Rate(MEAN_R, scored.value, scored.low, scored.high, tasks, found[0].n)
    ks = sorted(set[int]().union(*(e.pass_at for e in found)))
    if not ks:
        return None
    estimate: Estimate | None = found[0].pass_at.get(ks[0])
    if len(found) > 1:
        from ilf.study.statistics import pooled

        estimate = pooled(found, ks[0])
    if estimate is None:
        return None
    return Rate(f"pass@{ks[0]}", estimate.value, estimate.low, estimate.high, tasks, found[0].n)


# --- two side by side -------------------------------------------------------------------------------------


def compare(a: Path, b: Path) -> dict[str, Any]:
    """Two folders: their summaries, the settings that differ, and, of runs on the same tasks, a paired test.

    Returns:
        `a`, `b` (as `Summary`), `settings` (key → [of a, of b]) and `difference` (a `Comparison` of what the
        runs ended with, or None), all ready for JSON.

    Raises:
        DataError: one of them cannot be read, or one is a run and the other a study.
    """
    left, right = summary(a), summary(b)
    for row in (left, right):
        if row.problem is not None:
            raise DataError(row.problem if row.folder in row.problem else f"{row.folder}: {row.problem}")
    if left.kind != right.kind:
        raise DataError(f"{a} is a {left.kind} and {b} a {right.kind}: give two runs or two studies")
    name = CONFIG if left.kind == "study" else "config.toml"
    settings = differing(read_config(a / name)[1], read_config(b / name)[1])
    difference = _difference(a, b) if left.kind == "run" else None
    return {
        "a": asdict(left),
        "b": asdict(right),
        "settings": {key: list(values) for key, values in settings.items()},
        "difference": None if difference is None else difference.model_dump(mode="json"),
    }


def _difference(a: Path, b: Path) -> Comparison | None:
    from ilf import metrics

    ends = []
    for path in (a, b):
        found = stages([read_evaluation(files).arms for files in RunFolder(path).rounds()])
        if not found:
            return None
        ends.append([*found.values()][-1])
    left, right = ends
    shared = metrics.common([left, right])
    if not shared or {t.task_id for t in left.tasks} != {t.task_id for t in right.tasks}:
        return None
    return metrics.compare([left], [right], names=(str(a), str(b)), k=shared[0])


# --- text -------------------------------------------------------------------------------------------------

_STATES = {"finished": "finished", "waiting": "waiting for people"}


def _state(row: Mapping[str, Any]) -> str:
    return _STATES.get(row["state"]) or f"at {row['step']}"


def _shown(rate: Mapping[str, Any] | None) -> str:
    if rate is None:
        return "–"
    value, low, high = (100 * rate[key] for key in ("value", "low", "high"))
    return f"{rate['metric']} {value:.1f}% [{low:.1f}, {high:.1f}], {rate['tasks']} tasks"


def _list_text(found: Iterable[Summary]) -> str:
    """A table of what could be read, and a line for each folder that could not."""
    rows = [asdict(row) for row in found]
    table = [
        [
            row["folder"], _state(row), row["model"] or "–", row["tasks"] or "–", _number(row["feedback"]),
            _shown(next(iter(row["results"].values()), None)), _shown(row["results"].get(row["final"])),
            _number(row["seconds"]),
        ]
        for row in rows
        if row["problem"] is None
    ]  # fmt: skip
    head = ["folder", "state", "model", "tasks", "feedback", "before", "after", "seconds"]
    lines = _aligned([head, *table]) if table else []
    for row in rows:
        if row["problem"] is not None:
            said = "broken: " if row["state"] == "broken" else ""
            lines.append(_plain(f"{row['folder']}: {said}{row['problem']}"))
    return "\n".join(lines)


def _compared_text(compared: Mapping[str, Any]) -> str:
    a, b = compared["a"], compared["b"]
    rows = [["", a["folder"], b["folder"]], ["state", _state(a), _state(b)]]
    rows += [[key, *values] for key, values in compared["settings"].items()]
    rows.append(["feedback items", _number(a["feedback"]), _number(b["feedback"])])
    for label in dict.fromkeys([*a["results"], *b["results"]]):
        rows.append([label, _shown(a["results"].get(label)), _shown(b["results"].get(label))])
    rows.append(["seconds", _number(a["seconds"]), _number(b["seconds"])])
    lines = _aligned(rows)
    if compared["difference"] is not None:
        from ilf.terminal import comparison_line

        difference = comparison_line(Comparison.model_validate(compared["difference"]))
        lines.append(f"the second against the first, paired: {difference}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other, a line a row, however narrow the terminal."""
    cells = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _plain(text: str) -> str:
    """Names of folders and settings may hold anything; a terminal gets what can be printed, on one line."""
    return "".join(char if char.isprintable() else "?" for char in text)
