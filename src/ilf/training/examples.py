"""From examples to token rows, and the checks that come before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ilf.errors import TrainingError
from ilf.records import Example
from ilf.training.packing import Row

# How many examples an error names before it only counts.
NAMED = 5


@dataclass(frozen=True)
class LabelReport:
    """What fine-tuning will learn from, and what it cannot use."""

    rows: tuple[Row, ...]
    """The tokenised examples that can be trained on."""
    examples: int
    """How many examples were given."""
    prompt_tokens: int
    """Of the usable rows; so is `label_tokens`, the number of tokens that get a loss."""
    label_tokens: int
    longest: int
    """Tokens of the longest usable row."""
    too_long: tuple[str, ...] = ()
    """Examples over the limit, by name and length. None is ever cut."""
    empty: tuple[str, ...] = ()
    """Examples whose completion holds no text: nothing to train on."""
    endless: tuple[str, ...] = ()
    """Examples whose last label is not the end token (the tokenizer has none)."""
    early_end: tuple[str, ...] = ()
    """Examples with the end token inside the completion: they would teach to stop in the middle."""
    unweighted: int = 0
    """Examples of weight 0, which are left out."""
    shown: str = field(default="", repr=False)
    """The first usable row decoded, its labels marked."""

    def summary(self) -> str:
        """One line of counts."""
        total = self.prompt_tokens + self.label_tokens
        line = (
            f"{len(self.rows)} of {self.examples} examples, {total:,} tokens, "
            f"{self.label_tokens:,} of them labels; longest {self.longest:,}"
        )
        left = {"too long": len(self.too_long), "of weight 0": self.unweighted}
        dropped = ", ".join(f"{count} {why}" for why, count in left.items() if count)
        return f"{line}; left out: {dropped}" if dropped else line


def name(index: int, example: Example) -> str:
    """How an example is called in messages: its row, counted from 1, and its task."""
    return f"row {index + 1}" + (f" (task {example.task_id})" if example.task_id else "")


def tokenise(tokenizer: Any, example: Example, index: int = 0) -> Row:
    """Tokenise prompt and completion apart, join the ids, and end with the tokenizer's end token.

    Apart, because sampling tokenises the prompt alone: a token across the boundary would never be seen
    there. The end token is a label like any other, also where the tokenizer pads with it.
    """
    prompt = tokenizer(example.prompt, add_special_tokens=False).input_ids
    completion = tokenizer(example.completion, add_special_tokens=False).input_ids
    end = tokenizer.eos_token_id
    if end is not None and (not completion or completion[-1] != end):
        completion = [*completion, end]
    return Row(tuple(prompt), tuple(completion), example.weight, index)


def inspect_examples(tokenizer: Any, examples: Sequence[Example], max_length: int) -> LabelReport:
    """Tokenise and count; nothing is raised.

    Args:
        tokenizer: a Hugging Face tokenizer.
        examples: what is to be learnt.
        max_length: tokens of prompt, completion and end token together.
    """
    end = tokenizer.eos_token_id
    rows: list[Row] = []
    too_long, empty, endless, early = [], [], [], []
    unweighted = 0
    for index, example in enumerate(examples):
        row = tokenise(tokenizer, example, index)
        what = name(index, example)
        total = len(row.prompt) + len(row.completion)
        if not example.completion.strip() or total < 2:
            empty.append(what)
            continue
        if row.completion[-1] != end:
            endless.append(what)
        if end in row.completion[:-1]:
            early.append(what)
        if total > max_length:
            too_long.append(f"{what}: {total:,} tokens")
        elif example.weight == 0:
            unweighted += 1
        else:
            rows.append(row)
    return LabelReport(
        rows=tuple(rows),
        examples=len(examples),
        prompt_tokens=sum(len(row.prompt) for row in rows),
        label_tokens=sum(len(row.completion) for row in rows),
        longest=max((len(row.prompt) + len(row.completion) for row in rows), default=0),
        too_long=tuple(too_long),
        empty=tuple(empty),
        endless=tuple(endless),
        early_end=tuple(early),
        unweighted=unweighted,
        shown=show_row(tokenizer, rows[0]) if rows else "",
    )


def check_examples(
    tokenizer: Any, examples: Sequence[Example], max_length: int, *, drop_too_long: bool = False
) -> LabelReport:
    """Tokenise, count, and refuse what would train something else than what was asked.

    Args:
        tokenizer: a Hugging Face tokenizer.
        examples: what is to be learnt.
        max_length: tokens of prompt, completion and end token together.
        drop_too_long: leave out the examples over `max_length` (the report names them) instead of refusing.

    Raises:
        TrainingError: some examples are too long, have no trainable tokens or no end token, or none is left.
    """
    report = inspect_examples(tokenizer, examples, max_length)
    if not examples:
        raise TrainingError("no examples to train on: selection kept none")
    if report.empty:
        raise TrainingError(f"{_listed(report.empty)}: no trainable tokens, the completion is empty")
    if report.endless:
        raise TrainingError(
            f"{_listed(report.endless)}: no end token after the completion, because the tokenizer has none: "
            "set its eos_token, or the model would never learn to stop"
        )
    if report.early_end:
        raise TrainingError(
            f"{_listed(report.early_end)}: the end token {tokenizer.eos_token} stands inside the completion: "
            "end the completion there"
        )
    if report.too_long and not drop_too_long:
        raise TrainingError(
            f"{_listed(report.too_long)}: longer than max_length = {max_length:,}, and nothing is cut: "
            'raise max_length, or leave them out with too_long = "drop"'
        )
    if not report.rows:
        why = f"all {len(examples)} are " + ("too long" if report.too_long else "of weight 0")
        raise TrainingError(f"no examples to train on: {why}")
    return report


def show_row(tokenizer: Any, row: Row, width: int = 400) -> str:
    """A row as a person checks it: the end of the prompt, then the labels between ⟦ and ⟧.

    Args:
        tokenizer: what made the row.
        row: the row.
        width: characters of prompt and of completion shown at most.
    """
    prompt, completion = tokenizer.decode(list(row.prompt)), tokenizer.decode(list(row.completion))
    if len(prompt) > width:
        prompt = "… " + prompt[-width:]
    if len(completion) > width:
        completion = completion[: width // 2] + " … " + completion[-width // 2 :]
    counts = f"[{len(row.prompt)} tokens given, {len(row.completion)} learnt, weight {row.weight:g}]"
    return f"{counts}\n{prompt}⟦{completion}⟧"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
