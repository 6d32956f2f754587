"""A model that answers from a table: for tests and dry runs, without torch.

The table is JSONL; the first row whose `contains` stands in the prompt answers, its completions in turn:

    {"contains": "def add(", "completions": ["\\n    return a + b\\n", "\\n    return a\\n"]}

A prompt that no row knows is answered with an empty text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ilf.errors import DataError, ModelError
from ilf.prompts import Prompt
from ilf.records import Example, read_rows
from ilf.sampling import Completion, SamplingParams

TABLE = "script.jsonl"
"""Name of the table inside a model folder."""


class ScriptedSampler:
    """Answers from the table `rows` of (what the prompt contains, completions)."""

    def __init__(self, rows: Sequence[tuple[str, Sequence[str]]], model: str) -> None:
        self._rows = rows
        self.model = model

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`; temperature and seed change nothing, a token is a word."""
        for number, prompt in enumerate(prompts):
            answers = next((found for part, found in self._rows if part in prompt.text), ("",))
            for index in range(params.n):
                text = answers[index % len(answers)]
                cut = min((at for stop in params.stop if (at := text.find(stop)) >= 0), default=len(text))
                tokens = len(text[:cut].split()) + 1
                if progress is not None:
                    progress(tokens)
                yield Completion(number, index, text[:cut], -float(tokens), tokens, "stop")

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`; a table takes any prompt."""


def open(model: str) -> ScriptedSampler:
    """Open a table.

    Args:
        model: a JSONL file, or a folder that holds one called `script.jsonl`; `scripted:` may stand before.

    Raises:
        ModelError: there is no such file.
        DataError: a row is wrong; file and line are named.
    """
    path = _table(model)
    rows = []
    for place, row in read_rows(path):
        part, completions = row.get("contains"), row.get("completions")
        if not isinstance(part, str):
            raise DataError(f"{path}, {place}: contains: a string was expected")
        if (
            not isinstance(completions, list)
            or not completions
            or not all(isinstance(c, str) for c in completions)
        ):
            raise DataError(f"{path}, {place}: completions: a list of strings was expected")
        rows.append((part, completions))
    return ScriptedSampler(rows, hashlib.sha256(path.read_bytes()).hexdigest())


def learn(model: str, examples: Sequence[Example], out: Path) -> None:
    """What stands for fine-tuning a scripted model: it answers the examples' prompts with their completions.

    Args:
        model: the table to start from.
        examples: what to learn by heart; they come before what the table knew.
        out: a folder to write, with the new table in it.
    """
    taught: dict[str, list[str]] = {}
    for example in examples:
        taught.setdefault(example.prompt, []).append(example.completion)
    lines = [json.dumps({"contains": prompt, "completions": found}) for prompt, found in taught.items()]
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f"{TABLE}.tmp"
    temporary.write_text(
        "\n".join(lines) + "\n" + _table(model).read_text(encoding="utf-8"), encoding="utf-8"
    )
    temporary.replace(out / TABLE)


def _table(model: str) -> Path:
    path = Path(model.removeprefix("scripted:"))
    path = path / TABLE if path.is_dir() else path
    if not path.is_file():
        raise ModelError(f"scripted model {model!r}: no such table (a JSONL file, or a folder with {TABLE})")
    return path
