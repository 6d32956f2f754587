"""Comments joined with the code they are about, its tests and what became of it; only what can be verified.

A comment becomes feedback where the function that it is about fails its tests as it was, and a later version,
or what its author suggested, passes them. Everything else is left out with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ilf.config import VerifyConfig
from ilf.places import Place
from ilf.records import Feedback, Program, Task
from ilf.review.comments import Comment
from ilf.review.repository import Repository
from ilf.review.unittests import Tests, tests_of
from ilf.syntax import (
    Definition,
    definition,
    first_line,
    segment,
    split_at_signature,
    try_parse,
    used_names,
)  # fmt: skip

MOST_VERSIONS = 5
"""Later versions of a file that are tried, the oldest first."""


@dataclass(frozen=True)
class Joined:
    """A comment with its task, the code it is about and what may be the corrected code."""

    comment: Comment
    task: Task
    code: str
    refinements: tuple[str, ...]
    """The author's suggestion, then later versions, the oldest first."""


@dataclass
class Imported:
    """What came of the comments of an export."""

    tasks: dict[str, Task] = field(default_factory=dict)
    feedback: list[Feedback] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    """Where the comment stands, and why it was left out."""


def join(
    comments: Sequence[Comment],
    repository: Repository,
    place: Place,
    settings: VerifyConfig,
    known: Mapping[str, Task] | None = None,
) -> Imported:
    """Make tasks and feedback of comments.

    Args:
        comments: of one or more exports.
        repository: that they are about.
        place: where programs are verified.
        settings: of the sandbox.
        known: tasks by the name of their function, whose tests count in the place of the repository's.
    """
    found = Imported()
    candidates: list[Joined] = []
    for comment in comments:
        one = _joined(comment, repository, known or {})
        if isinstance(one, str):
            found.dropped.append((comment.where, one))
        else:
            candidates.append(one)
    for one, verdict in zip(candidates, _verified(candidates, place, settings), strict=True):
        if isinstance(verdict, int):
            found.tasks[one.task.task_id] = one.task.model_copy(
                update={"reference": one.refinements[verdict]}
            )
            found.feedback.append(
                Feedback(
                    task_id=one.task.task_id, code=one.code, text=one.comment.text, source="review",
                    author=one.comment.author, refinement=one.refinements[verdict],
                    created=one.comment.created,
                )
            )  # fmt: skip
        else:
            found.dropped.append((one.comment.where, verdict))
    return found


def _joined(comment: Comment, repository: Repository, known: Mapping[str, Task]) -> Joined | str:
    """The comment with all that it needs, or the reason why it has not."""
    if not comment.path.endswith(".py"):
        return "not about Python"
    commit = comment.commit if comment.commit and repository.has(comment.commit) else None
    if commit is None and comment.commit is not None and comment.content is None:
        return "its commit is not in the repository"
    code = comment.content or repository.file(commit or repository.head, comment.path)
    if code is None:
        return "its file is not in that version"
    function = _function_at(code, comment.first, comment.last)
    if function is None:
        return "in no function at the top of the file"
    later = list(_later_versions(comment, repository, commit, function.name, code))
    suggested = _suggested(code, comment)
    files = [text for text in [suggested, *(text for _, text in later)] if text is not None]
    refinements = [text for text in (_alone(file, function.name) for file in files) if text is not None]
    program = _alone(code, function.name)
    if not refinements or program is None:
        return "the function did not change afterwards, and nothing is suggested"
    tests: Tests | None
    if function.name in known:
        tests = Tests(known[function.name].tests, known[function.name].setup)
    else:
        at = later[-1][0] if later else repository.head
        newest = _definition(later[-1][1] if later else files[0], function.name)
        tests = tests_of(repository, at, comment.path, newest or function)
    if tests is None:
        return "the function has no tests"
    task = _task(comment, commit or repository.head, program, function.name, tests)
    if task is None:
        return "its signature was not found"
    return Joined(comment, task, program, tuple(dict.fromkeys(refinements)))


def _function_at(code: str, first: int, last: int) -> Definition | None:
    """The function at the top of the file that the lines are in."""
    tree = try_parse(code)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef) and first_line(node) <= last and first <= (node.end_lineno or 0):
            return node
    return None


def _definition(code: str, name: str) -> Definition | None:
    tree = try_parse(code)
    return definition(tree, name) if tree else None


def _later_versions(
    comment: Comment, repository: Repository, commit: str | None, name: str, code: str
) -> Iterator[tuple[str, str]]:
    """(commit, file) of the versions in which the function is another than it was, the oldest first."""
    before = _without_docstring(code, name)
    # A patch without a commit came before the head.
    commits = [repository.head] if commit is None else repository.later(commit, comment.path)
    for later in commits[:MOST_VERSIONS]:
        text = repository.file(later, comment.path)
        after = None if text is None else _without_docstring(text, name)
        if text is not None and after is not None and after != before:
            yield later, text


def _without_docstring(code: str, name: str) -> str | None:
    node = _definition(code, name)
    if not isinstance(node, ast.FunctionDef):
        return None
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(node)


def _suggested(code: str, comment: Comment) -> str | None:
    """The file with the lines that the author of the comment suggests; None where that is no Python."""
    if comment.suggestion is None:
        return None
    lines = code.split("\n")
    lines[comment.first - 1 : comment.last] = comment.suggestion.rstrip("\n").split("\n")
    text = "\n".join(lines)
    return text if try_parse(text) is not None else None


def _alone(code: str, name: str) -> str | None:
    """The file with the function at its end, where a model writes its body, and no `if __name__` block."""
    tree = try_parse(code)
    found = definition(tree, name) if tree else None
    if tree is None or found is None:
        return None
    lines = code.split("\n")
    others = [node for node in tree.body if node is not found and not _is_main(node)]
    return "\n".join([*(segment(lines, node) for node in others), segment(lines, found)])


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in used_names(node.test)


def _task(comment: Comment, commit: str, program: str, name: str, tests: Tests) -> Task | None:
    """The task of writing the function, all else of its file being there; None without a signature."""
    parts = split_at_signature(program, name)
    function = _definition(program, name)
    if parts is None or function is None:
        return None
    docstring = (ast.get_docstring(function) or "").split(">>>")[0].strip()
    return Task(
        task_id=f"{comment.path}:{name}@{commit[:10]}",
        description=docstring or f"Write the function {name} of {comment.path}.",
        entry_point=name,
        prefix=parts[0],
        setup=tests.setup,
        tests=tests.tests,
    )


def _verified(candidates: Sequence[Joined], place: Place, settings: VerifyConfig) -> Iterator[int | str]:
    """For each, which of its refinements passes, or why it is left out."""
    tasks = {f"{n}": one.task.model_copy(update={"task_id": f"{n}"}) for n, one in enumerate(candidates)}
    codes = [[one.code, *one.refinements] for one in candidates]
    programs = [Program(task_id=f"{n}", code=code) for n, of in enumerate(codes) for code in of]
    verdicts = iter(place.verify(tasks, programs, settings))
    for of in codes:
        before, *after = [next(verdicts) for _ in of]
        right = next((n for n, verdict in enumerate(after) if verdict.passed), None)
        if "sandbox_error" in (before.status, *(verdict.status for verdict in after)):
            yield "the sandbox itself failed"
        elif right is None:
            yield "no later version passes the tests here"
        elif before.passed:
            yield "the code passes its tests as it was"
        else:
            yield right
