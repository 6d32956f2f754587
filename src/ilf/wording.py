"""The parts of a prompt: what is asked, the answer that is wrong, and what is said about it."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Sequence

from ilf.kinds import WordedKind, is_code, words_of
from ilf.records import Task
from ilf.syntax import definition, normalise, try_parse


def shown_example(test: str) -> str:
    """A test as the paper's prompt shows it: without `assert `, its `==` written `=`."""
    test = test.removeprefix("assert ")
    try:
        for token in tokenize.generate_tokens(io.StringIO(test).readline):
            if token.type == tokenize.OP and token.string == "==":
                lines = test.split("\n")
                line, column = token.start
                lines[line - 1] = lines[line - 1][:column] + "=" + lines[line - 1][column + 2 :]
                return "\n".join(lines)
    except (tokenize.TokenError, SyntaxError):
        pass
    return test


def documented(task: Task) -> bool:
    """Whether the prefix carries the description already, as HumanEval's prompts do."""
    tree = try_parse(task.prefix)
    node = definition(tree, task.entry_point) if tree else None
    return node is not None and task.description[:40] in (ast.get_docstring(node) or ast.unparse(node))


def header(task: Task) -> str:
    """The module docstring of the paper's program prompt."""
    if documented(task):
        return ""
    shown = f"\n\n>>> Example: {shown_example(task.shown)}" if task.shown else ""
    quotes = "'''" if '"""' in task.description + shown else '"""'
    return f"{quotes}\n{task.description}{shown}\n{quotes}\n\n"


def whole(task: Task, code: str) -> str:
    """A program under its prompt's docstring, ending in one line break."""
    return header(task) + normalise(code).rstrip() + "\n"


def sections(task: Task, code: str, feedback: str | None) -> str:
    """The paper's refinement prompt up to the refinement."""
    if feedback is None:
        return f"OLD CODE:\n{whole(task, code)}\nREFINEMENT:\n"
    return f"{attempt(task, code)}{normalise(feedback).strip()}\n\nREFINEMENT:\n"


def attempt(task: Task, code: str) -> str:
    """The paper's refinement prompt up to where the feedback goes."""
    return f"OLD CODE:\n{whole(task, code)}\nFEEDBACK:\n"


def mistake(task: Task, code: str) -> str:
    """A task and a wrong answer to it."""
    if not is_code(task):
        return f"{request(task)}\n\nThis answer is wrong:\n\n{code.strip()}"
    return f"{request(task)}\n\nThis program is wrong:\n\n{fenced(normalise(code))}"


def fenced(code: str) -> str:
    """A program in a code fence."""
    return f"```python\n{code.rstrip()}\n```"


def request(task: Task) -> str:
    """What is asked, in a chat."""
    words = words_of(task)
    if words is not None:
        return words.request(task)
    shown = f"\n\nIt must pass this test:\n\n{fenced(task.shown)}" if task.shown else ""
    return task.description.strip() + shown


def refinement_request(task: Task, code: str, feedback: str | None) -> str:
    """What a model is asked to correct, in a chat."""
    said = "" if feedback is None else f"\n\nWhat is wrong with it:\n\n{normalise(feedback).strip()}"
    return f"{mistake(task, code)}{said}\n\nWrite the corrected program."


def worded_request(
    words: WordedKind,
    task: Task,
    code: str,
    feedback: str | None,
    shots: Sequence[tuple[Task, str, str | None, str]] = (),
) -> str:
    """What a model is asked to correct, in the words of the task's kind; arguments as of `refinement`."""

    def told(task: Task, code: str, feedback: str | None) -> str:
        said = "" if feedback is None else f"\n\nWhat is wrong with it:\n\n{feedback.strip()}"
        return f"{words.request(task)}\n\nThis answer is wrong:\n\n{code.strip()}{said}"

    worked = [
        f"Example {number}\n\n{told(*shot[:3])}\n\nCorrected answer:\n\n{shot[3].strip()}"
        for number, shot in enumerate(shots, start=1)
    ]
    worked += ["Now yours."] if shots else []
    return "\n\n".join([*worked, told(task, code, feedback), "Write the corrected answer."])
