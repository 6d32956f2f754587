"""The text models see, in training and in sampling alike, and how a completion becomes a program.

Two styles. `completion` is for base models: the paper's two formats (section 3.1, appendix). `chat` is for
instruct models: the model's own chat template, the assistant's turn opened with a code fence and the
function's prefix, so that the model's next token is code.

In both, a prompt for a refinement ends as a prompt for a program does, with the program's prefix, and the
completion is what follows it: sampling and training see the same tokens.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ilf.errors import Inexpressible
from ilf.extraction import extract
from ilf.extraction.opening import opening
from ilf.kinds import Opened, WordedKind, is_code, words_of
from ilf.notes import Lines, for_prompt
from ilf.records import Task
from ilf.syntax import (
    Definition,
    bound_names,
    definition,
    find_hole,
    normalise,
    signature_end,
    try_parse,
)
from ilf.wording import (
    attempt,
    fenced,
    header,
    mistake,
    refinement_request,
    request,
    sections,
    whole,
    worded_request,
)

Style = Literal["completion", "chat"]

# After the function a model begins something else (the same function again, mostly) or tries it out: up to
# two of five characters the embedded model writes. Helpers below it are the price (docs/prompts.md).
# The likeliest come first: some servers take four.
_STOP = ("\ndef ", "\n```", "\nif ", "\nprint(", "\nassert ", "\nclass ", "\n@", "\n#")
# A base model may go on with its next example.
_STOP_COMPLETION = ('\n"""', "\n'''", "\nOLD CODE:", "\nFEEDBACK:", "\nREFINEMENT:")


@dataclass(frozen=True)
class Prompt:
    """What a model is given.

    `text` is the whole prompt as the model's tokenizer reads it (special tokens written out; it is tokenised
    with `add_special_tokens=False`). `user` and `prefill` are its parts for chat servers: the user's message
    and the opening of the assistant's answer; in style `completion`, `user` is None and `prefill` is `text`.
    """

    text: str
    user: str | None = None
    prefill: str = ""


class Prompter:
    """Prompts, targets and programs in one style.

    Args:
        style: `completion` (the paper's formats) or `chat`.
        template: style `chat`: the user's message → the text up to and including the opening of the
            assistant's turn. Where it is None (the text then is the user's message, a blank line, and the
            opening of the answer), prompts suit chat servers, which apply their own template.
        bos: style `completion`: text of the token that starts a document, `""` for models without one.
        lines: how notes about lines name them in the prompt for a refinement (`ilf.notes.for_prompt`).
    """

    def __init__(
        self,
        style: Style,
        template: Callable[[str], str] | None = None,
        bos: str = "",
        lines: Lines = "number",
    ) -> None:
        self.style = style
        self._lines = lines
        self._template = template or (lambda message: f"{message}\n\n")
        self._bos = bos
        self.stop: tuple[str, ...] = _STOP if style == "chat" else _STOP + _STOP_COMPLETION
        """Stop sequences for sampling programs and refinements of tasks about functions."""

    def stops(self, tasks: Iterable[Task]) -> tuple[str, ...]:
        """Stop sequences for sampling programs and refinements of these tasks together."""
        found = {task.kind: words_of(task) for task in tasks}
        if all(words is None for words in found.values()):
            return self.stop
        return ("\n```",) if all(isinstance(words, Opened) for words in found.values()) else ()

    # ------------------------------------------------------------ prompts

    def program(self, task: Task) -> Prompt:
        """The prompt for a program that solves `task`."""
        words = words_of(task)
        if words is not None:
            return self._say(words, task, words.request(task))
        if self.style == "completion":
            return self._continue(header(task) + opening(task))
        return self._ask(request(task), task)

    def refinement(
        self,
        task: Task,
        code: str,
        feedback: str | None,
        shots: Sequence[tuple[Task, str, str | None, str]] = (),
    ) -> Prompt:
        """The prompt for a refinement of the wrong program `code`.

        Args:
            task: what `code` fails at.
            code: the whole wrong program, prefix included.
            feedback: what is wrong with it; None leaves the section out (the control arm without feedback).
            shots: worked examples to stand before it: (task, wrong program, feedback, refinement).
        """
        feedback = for_prompt(feedback, code, self._lines)
        shots = [(known, wrong, for_prompt(f, wrong, self._lines), right) for known, wrong, f, right in shots]
        words = words_of(task)
        if words is not None:
            return self._say(words, task, worded_request(words, task, code, feedback, shots))
        if self.style == "completion":
            parts = [sections(*shot[:3]) + whole(shot[0], shot[3]) for shot in shots]
            return self._continue(
                "\n".join([*parts, sections(task, code, feedback)]) + header(task) + opening(task)
            )
        parts = [
            f"Example {i}\n\n{refinement_request(*shot[:3])}\n\nCorrected program:\n\n{fenced(shot[3])}"
            for i, shot in enumerate(shots, start=1)
        ]
        parts += ["Now yours."] if shots else []
        return self._ask("\n\n".join([*parts, refinement_request(task, code, feedback)]), task)

    def feedback(self, task: Task, code: str, shots: Sequence[tuple[Task, str, str]] = ()) -> Prompt:
        """The prompt for a model that writes feedback on the wrong program `code`; its answer is the text.

        Args:
            task: what `code` fails at.
            code: the whole wrong program, prefix included.
            shots: worked examples to stand before it: (task, wrong program, feedback).
        """
        if self.style == "completion":
            worked = [f"{attempt(*shot[:2])}{shot[2].strip()}\n\n" for shot in shots]
            return self._continue("".join(worked) + attempt(task, code))
        parts = [
            f"Example {number}\n\n{mistake(*shot[:2])}\n\nFeedback: {shot[2].strip()}"
            for number, shot in enumerate(shots, start=1)
        ]
        it = "program" if is_code(task) else "answer"
        asked = (
            f"Say in two or three sentences what is wrong with the {it} and how to fix it. "
            f"Do not write the corrected {it}."
        )
        return self.ask("\n\n".join([*parts, mistake(task, code), asked]), "Feedback:")

    def ask(self, message: str, begun: str = "") -> Prompt:
        """Any other question, as for a judge; the answer goes on from `begun`."""
        if self.style == "completion":
            return self._continue(f"{message}\n\n{begun}")
        return Prompt(self._template(message) + begun, message, begun)

    @property
    def feedback_stop(self) -> tuple[str, ...]:
        """Stop sequences for sampling feedback."""
        return ("\nOLD CODE:", "\nREFINEMENT:") if self.style == "completion" else ("\n```", "\nExample ")

    def _continue(self, text: str) -> Prompt:
        text = self._bos + text
        return Prompt(text, None, text)

    def _say(self, words: WordedKind, task: Task, message: str) -> Prompt:
        """A question in the words of a kind; of its answer, only what the kind opens it with is written."""
        begun = words.opening(task) if isinstance(words, Opened) else ""
        return self.ask(message, f"ANSWER:\n{begun}" if self.style == "completion" else begun)

    def _ask(self, message: str, task: Task) -> Prompt:
        # Without the signature's line break: it belongs to the first token of the body ("\n    "), and a
        # prompt that ends with it makes models lose the indentation.
        prefill = "```python\n" + opening(task).removesuffix("\n")
        return Prompt(self._template(message) + prefill, message, prefill)

    # ------------------------------------------------------------ targets

    def program_target(self, task: Task, code: str) -> str:
        """What follows `program(task)` for the program `code`: the completion a model is trained on.

        `extract_program` makes the same program of it again, but for trials below the function and comments
        at the left margin. Imports, helpers and constants above the function that the prompt does not have
        move into the function, the only way to express them after the signature.

        Raises:
            Inexpressible: no continuation of the prompt is this program: another signature, a helper that
                the prompt defines otherwise, other code above the function, or functions below it, which
                sampling stops before.
        """
        words = words_of(task)
        if words is not None:
            return words.target(task, code)
        start = opening(task)
        body = _body(task, normalise(code))
        # What extraction leaves out (trials below the function) is not to be learnt either.
        margin = "\n" if self.style == "chat" and start.endswith("\n") else ""
        program = self.extract_program(task, margin + body)
        if not program.startswith(start):
            raise Inexpressible("it cannot be read back from what follows the prompt")
        lost = _defined(start + body) - _defined(program)
        if lost:
            raise Inexpressible(f"{', '.join(sorted(lost))}: below the function, where sampling stops")
        body = _without_margin_comments(start, program[len(start) :].rstrip())
        found = next((stop for stop in self.stop if stop in "\n" + body), None)
        if found:
            raise Inexpressible(f"it contains {found!r}, where sampling stops")
        if self.style == "chat":
            return margin + body + "\n```"
        return body + "\n"

    def refinement_target(self, task: Task, code: str) -> str:
        """What follows `refinement(task, …)` for the corrected program `code`; as `program_target`."""
        return self.program_target(task, code)

    # ------------------------------------------------------------ programs

    def extract_program(self, task: Task, completion: str) -> str:
        """The whole program that a completion of `program(task)` stands for; `""` where it is no code."""
        words = words_of(task)
        if words is not None:
            return words.extract(task, completion)
        if self.style == "chat":
            completion = completion.removeprefix("\n")  # the signature's line break, see `_ask`
        return extract(completion, opening(task), task.entry_point, definitions_after=False)

    def extract_refinement(self, task: Task, completion: str) -> str:
        """As `extract_program`, for a completion of `refinement(task, …)`."""
        return self.extract_program(task, completion)


# ---------------------------------------------------------------- a program as a continuation


_MOVABLE = (
    ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
)  # fmt: skip


def _defined(code: str) -> set[str]:
    """Names of the functions and classes at the top level."""
    tree = try_parse(normalise(code))
    return {s.name for s in tree.body if isinstance(s, Definition)} if tree else set()


def _body(task: Task, code: str) -> str:
    """What of `code` follows the prompt's opening; raises `Inexpressible`."""
    start = opening(task)
    lines = code.split("\n")
    written = start.count("\n")
    if start.endswith("\n") and "".join(f"{line.rstrip()}\n" for line in lines[:written]) == "".join(
        f"{line.rstrip()}\n" for line in start.split("\n")[:written]
    ):
        return "\n".join(lines[written:])
    tree = try_parse(code)
    if tree is None:
        raise Inexpressible("it does not parse, and does not start with the prompt's code")
    node = definition(tree, task.entry_point)
    if node is None:
        raise Inexpressible(f"it does not define {task.entry_point}")
    before = tree.body[: tree.body.index(node)]
    if not start.endswith("\n"):
        return _unsigned(task, code, before, start)
    hole = find_hole(start)
    if hole is None or hole.node.name != task.entry_point or hole.node is not hole.top:
        raise Inexpressible("it does not start with the prompt's code")
    prompt, signature = hole.tree, hole.node
    if _signature(node) != _signature(signature):
        raise Inexpressible(f"another signature: {_signature(node)}, not {_signature(signature)}")

    there = {name: ast.dump(s) for s in prompt.body if s is not signature for name in bound_names(s)}
    own = _own_names(node)
    moved = []  # what the prompt lacks goes into the function
    for statement in before:
        names = bound_names(statement)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):  # a docstring
            continue
        if names and all(there.get(name) == ast.dump(statement) for name in names):
            continue
        if names & (there.keys() | own) or not isinstance(statement, _MOVABLE) or "global " in code:
            raise Inexpressible(
                f"{ast.unparse(statement).splitlines()[0]}: above the function, not in the prompt"
            )
        moved.append(ast.unparse(statement))
    line, column = signature_end(code, node)
    if lines[line - 1][column:].strip() and node.body[0].lineno == line:
        body = "    " + lines[line - 1][column:].strip() + "\n" + "\n".join(lines[line:])
    else:
        body = "\n".join(lines[_documentation_end(node, signature, line) :])
    indent = (
        lines[node.body[-1].lineno - 1][: node.body[-1].col_offset] if node.body[-1].lineno > line else "    "
    )
    return "".join(textwrap.indent(text, indent) + "\n" for text in moved) + body


def _without_margin_comments(start: str, body: str) -> str:
    """`body` without comments at the left margin, where sampling stops; as it is where that changes it."""
    kept = "\n".join(line for line in body.split("\n") if not line.startswith("#"))
    before, after = try_parse(start + body), try_parse(start + kept)
    return kept if before and after and ast.dump(before) == ast.dump(after) else body


def _unsigned(task: Task, code: str, before: list[ast.stmt], start: str) -> str:
    """The continuation of `def f(`, for a task without prefix."""
    if any(not isinstance(s, ast.Expr) for s in before):
        raise Inexpressible("code above the function, which the prompt does not have")
    at = code.find(start)
    if at < 0 or (at and code[at - 1] != "\n"):
        raise Inexpressible(f"it does not contain {start!r} as the prompt has it")
    return code[at + len(start) :]


def _own_names(node: Definition) -> set[str]:
    """Parameters and variables of a function: what is moved into it must not have such a name."""
    names = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    return names | {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}({', '.join(map(ast.unparse, node.bases))})"
    return f"def {node.name}({ast.unparse(node.args)})"


def _documentation_end(node: Definition, signature: Definition, line: int) -> int:
    """Number of lines to the end of what the prompt has of the body (a docstring), if `node` repeats it."""
    written = [s for s in signature.body if not isinstance(s, ast.Pass)]
    same = 0
    for mine, prompts in zip(node.body, written, strict=False):
        if ast.dump(mine) != ast.dump(prompts):
            break
        same += 1
    return (node.body[same - 1].end_lineno or line) if same else line
