"""What models are fine-tuned on as others keep it: prompt and completion, messages, Alpaca, ShareGPT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilf.errors import DataError
from ilf.formats import files
from ilf.formats.messages import Turn, turns
from ilf.formats.own import Own
from ilf.progress import say
from ilf.records import Example, describe

Row = dict[str, Any]
Render = Callable[[Sequence[Turn]], str]
"""Turns → the prompt up to where the assistant's answer begins, in a model's own words."""


class BadExample(ValueError):
    """What is wrong with one row, starting with the field."""


@dataclass(frozen=True)
class Form:
    """One way to keep examples."""

    says: str
    fits: Callable[[Row], bool]
    read: Callable[[Row, Callable[[], Render | None]], tuple[str, str]]
    """A row, and how the model is talked to (None: it has no chat template), as (prompt, completion)."""


def _chat(said: Sequence[Turn] | None, render: Callable[[], Render | None]) -> tuple[str, str]:
    if said is None or len(said) < 2 or said[-1][0] != "assistant":
        raise BadExample("messages: messages that end with the assistant's were expected")
    template = render()
    if template is None:
        raise BadExample("messages: the model has no chat template to write them with")
    return template(said[:-1]), said[-1][1]


def _pairs(row: Row, render: Callable[[], Render | None]) -> tuple[str, str]:
    asked, answered = turns(row["prompt"]), turns(row["completion"])
    if asked is None or answered is None:
        raise BadExample("prompt: a text, or messages in both prompt and completion, was expected")
    return _chat([*asked, *answered], render)


def _conversation(row: Row, render: Callable[[], Render | None]) -> tuple[str, str]:
    said = turns(row.get("messages", row.get("conversations")))
    system = row.get("system")
    if said is not None and isinstance(system, str) and system and said[0][0] != "system":
        said = [("system", system), *said]
    return _chat(said, render)


def _alpaca(row: Row, render: Callable[[], Render | None]) -> tuple[str, str]:
    instruction, given, output = (row.get(name) or "" for name in ("instruction", "input", "output"))
    if not all(isinstance(text, str) for text in (instruction, given, output)):
        raise BadExample("instruction: texts were expected")
    template = render()
    if template is not None:
        return template([("user", f"{instruction}\n\n{given}" if given else instruction)]), output
    # Alpaca's own words (Taori et al. 2023), which base models were tuned with.
    more = ", paired with an input that provides further context" if given else ""
    data = f"### Input:\n{given}\n\n" if given else ""
    return (
        f"Below is an instruction that describes a task{more}. Write a response that appropriately completes "
        f"the request.\n\n### Instruction:\n{instruction}\n\n{data}### Response:\n"
    ), output


FORMS = (
    Form(
        "prompts and completions in messages",
        lambda row: isinstance(row.get("prompt"), list) and "completion" in row,
        _pairs,
    ),
    Form("messages", lambda row: "messages" in row, _conversation),
    Form("ShareGPT conversations", lambda row: "conversations" in row, _conversation),
    Form("Alpaca rows", lambda row: {"instruction", "output"} <= row.keys(), _alpaca),
)


def read(path: Path, render: Callable[[], Render | None]) -> list[Example]:
    """The examples of a file, each row in our form or one of `FORMS`.

    A conversation gives one example: its last message is the completion, all before it the prompt.

    Args:
        path: JSONL, a JSON list, CSV or Parquet.
        render: how the model is talked to; asked for only where a row needs it.

    Raises:
        DataError: one line naming file, line and field.
    """
    own = Own(Example)
    found, forms = [], dict[str, int]()
    for place, row in files.read(path):
        form = next((form for form in FORMS if form.fits(row)), None)
        try:
            if form is None:
                found.append(Example.model_validate(own(row)))
                continue
            prompt, completion = form.read(row, render)
        except BadExample as error:
            raise DataError(f"{path}, {place}: {error}") from None
        except ValidationError as error:
            raise DataError(f"{path}, {place}: {describe(error)}") from None
        forms[form.says] = forms.get(form.says, 0) + 1
        found.append(Example(prompt=prompt, completion=completion, origin=form.says))
    for says, count in forms.items():
        say(f"{path}: read as {says}: {count} examples")
    if (note := own.passed_over()) is not None:
        say(f"{path}: {note}")
    return found
