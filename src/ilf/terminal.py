"""What a run says on the terminal when it is done: results, and where the time went."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilf.metrics import Comparison, Estimate, Evaluation, columns, points
from ilf.output import machines
from ilf.records import Feedback, Task, read_jsonl

if TYPE_CHECKING:
    from rich.console import Console

    from ilf.runfolder import Manifest, RoundFolder, RunFolder

NAMES = {"before": "πθ, zero-shot", "after": "πθ*, ILF", "own": "own correct samples alone"}


def console() -> Console:
    """Standard output; wide enough for any table where it is no terminal, and silent with `--json`."""
    from rich.console import Console

    found = Console(highlight=False, quiet=machines())
    return found if found.is_terminal else Console(highlight=False, quiet=machines(), width=140)


def percent(estimate: Estimate | None) -> str:
    """`12.3% [8.1, 16.9]`."""
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.1f}% [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table on standard output."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_evaluations(
    title: str, evaluations: Mapping[str, Evaluation], comparisons: Sequence[Comparison] = ()
) -> None:
    """pass@k (or mean R) of some models on the same tasks, and the paired tests between them."""
    names = columns(evaluations.values())
    print_table(
        title,
        ["", *names, "tasks × samples"],
        [
            [label, *(percent(e.columns.get(name)) for name in names), f"{len(e.tasks)} × {e.n}"]
            for label, e in evaluations.items()
        ],
    )
    out = console()
    for name, e in evaluations.items():
        for reason in e.refused.values():
            out.print(f"{name}: {reason}")
        if e.unscored:
            out.print(f"{name}: {e.unscored} samples got no verdict and are in no rate")
        if e.only_shown:
            out.print(f"{name}: {e.only_shown} samples pass the shown test and fail a hidden one")
    for c in comparisons:
        out.print(comparison_line(c))


def comparison_line(c: Comparison) -> str:
    """The paired test in one sentence; a gain that is not there is called that."""
    d = c.difference
    found = "a gain" if d.low > 0 else "a loss" if d.high < 0 else "no difference that can be told from noise"
    wins = "" if c.wins is None else f", win rate {percent(c.wins)}"
    together = "" if c.family is None else f" over the {c.family} comparisons made together"
    holm = "" if c.p_holm is None else f" ({c.p_holm:.3f} by Holm's correction{together})"
    return (
        f"{c.metric}: {points(d)}{wins}, "
        f"p = {c.p:.3f}{holm}, {c.tasks} tasks ({c.better} better, {c.worse} worse): {found}"
    )


def print_results(folder: RunFolder, tasks: Mapping[str, Task] | None = None) -> None:
    """The evaluations of every round, their curve, and the kinds of bug in a model's feedback.

    Args:
        folder: of the run.
        tasks: by id; for the last of these.
    """
    pairs: list[tuple[Evaluation, Evaluation]] = []
    for number, files in enumerate(folder.rounds(), start=1):
        _print_kinds(files, number, tasks or {})
        if not files.evaluation.exists():
            continue
        raw: dict[str, Any] = json.loads(files.evaluation.read_text(encoding="utf-8"))
        found = {arm: Evaluation.model_validate(e) for arm, e in raw["arms"].items()}
        pairs.append((found["before"], found["after"]))
        arms = {NAMES.get(arm, arm): evaluation for arm, evaluation in found.items()}
        first = next(iter(arms.values()))
        refined = Evaluation.model_validate(raw["refinement"])
        print_evaluations(
            f"Round {number}: split {first.split}, temperature {first.temperature}",
            {**arms, f"πRefine, split {refined.split}": refined},
            [Comparison.model_validate(c) for c in raw["paired"]],
        )
        console().print(pays(raw))
    if len(pairs) > 1:
        from ilf.rounds import curve

        print_table(
            "By round",
            ["", next(iter(pairs[0][0].rates), "pass@1"), "solved by the model before, and no more"],
            [
                [label, percent(next(iter(e.rates.values()), None)), lost or "–"]
                for label, e, lost in curve(pairs)
            ],
        )


def _print_kinds(files: RoundFolder, number: int, tasks: Mapping[str, Task]) -> None:
    """Table 5, where a model wrote feedback in a round."""
    from ilf.feedback import kinds

    written = kinds.by_model(read_jsonl(files.feedback, Feedback)) if files.feedback.exists() else []
    if not written:
        return
    print_table(
        f"Round {number}: kinds of bug in {len(written)} texts by a model, by rules (the paper's Table 5)",
        ["", "this model", "people", "InstructGPT"],
        [
            [name, *("–" if share is None else f"{share:.0%}" for share in shares)]
            for name, *shares in kinds.table5(written, tasks)
        ],
    )


def pays(raw: Mapping[str, Any]) -> str:
    """Whether feedback paid, in one sentence.

    Args:
        raw: what `8-evaluation.json` holds.
    """
    gain = Comparison.model_validate(raw["paired"][0])
    told = f"Feedback gained {points(gain.difference)} of {gain.metric} on {gain.tasks} held-out tasks"
    if "control" not in raw:
        return f"{told}; what own correct samples alone gain was not measured."
    alone, over = (Comparison.model_validate(c) for c in raw["control"])
    told += f", the model's own correct samples alone {points(alone.difference)}: "
    if over.difference.low > 0:
        return f"{told}feedback paid, {points(over.difference)} more than what is free."
    if over.difference.high < 0:
        return f"{told}feedback did not pay, what is free is better by {points(over.difference, -1)}."
    return f"{told}no difference between the two that can be told from noise ({points(over.difference)})."


def print_profile(manifest: Manifest) -> None:
    """Seconds and work of each step."""
    total = sum(state.seconds for state in manifest.steps.values())
    print_table(
        f"Where the time went ({total:,.0f} s)",
        ["step", "seconds", "share", "made"],
        [
            [
                label,
                f"{state.seconds:,.1f}",
                f"{state.seconds / total:.0%}" if total else "–",
                ", ".join(f"{value:,.0f} {what}" for what, value in state.counts.items()),
            ]
            for label, state in manifest.steps.items()
        ],
    )
