"""The forms that data sets of tasks are published in: a table of readers, told apart by the rows' fields.

A file's form is found by looking at its first row, never by its name, and said in one line. A new form is one
more entry of `FORMATS`, and a row of it in `tests/tasks/test_formats.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ilf.records import Task
from ilf.tasks import humaneval, mbpp
from ilf.tasks.formats import answers, bigcodebench, contests, evalplus, multipl_e
from ilf.tasks.mbpp import Prefix
from ilf.tasks.rows import Row

OURS = "ilf"
"""The name of our own form."""


@dataclass(frozen=True)
class Options:
    """What a reader may be told."""

    prefix: Prefix = "all"
    challenge_tests: bool = False


Reader = Callable[[Row, int, Options], Task]
"""A row, its number in the file, and options, as a task."""


@dataclass(frozen=True)
class Format:
    """One published form."""

    name: str
    """As in `NAME:PATH`."""
    says: str
    """What its rows are called in the line that says how a file was read."""
    needs: tuple[str, ...]
    """Fields that tell it from the others; `a|b` is one of the two."""
    read: Reader
    knows: tuple[str, ...] = ()
    """Other fields that are used, or known to be of no use: what is in neither is named."""
    lacks: tuple[str, ...] = ()
    """Fields that a row of it does not have."""

    def fits(self, row: Row) -> bool:
        """Whether a row has what this form has."""
        there = {name for name, value in row.items() if value is not None}
        return not there & set(self.lacks) and all(there & set(need.split("|")) for need in self.needs)

    def unknown(self, row: Row) -> set[str]:
        """Fields of a row that this form does not have."""
        known = {name for need in self.needs for name in need.split("|")} | set(self.knows)
        return {name for name, value in row.items() if value not in (None, "", [], {})} - known


FORMATS = (
    Format(
        "mbpp", "MBPP rows", ("code", "test_list", "text|prompt"),
        lambda row, number, o: mbpp.task_from_row(row, o.prefix, o.challenge_tests),
        ("task_id", "test_setup_code", "test_imports", "challenge_test_list", "source_file"), ("test",),
    ),
    Format(
        "mbppplus", "MBPP+ rows with test scripts", ("code", "test_list", "prompt", "test"),
        lambda row, number, o: evalplus.mbpp_script(row, o.prefix),
        ("task_id", "test_imports", "source_file"),
    ),
    Format(
        "humaneval", "HumanEval rows", ("prompt", "entry_point", "test"),
        lambda row, number, o: humaneval.task_from_row(row, o.prefix),
        ("task_id", "canonical_solution"), ("base_input", "plus_input", "inputs", "complete_prompt"),
    ),
    Format(
        "evalplus", "evalplus rows", ("prompt", "entry_point", "canonical_solution", "base_input"),
        lambda row, number, o: evalplus.plus(row, o.prefix),
        ("task_id", "plus_input", "atol", "contract", "test", "assertion", "parent"),
    ),
    Format(
        "evoeval", "EvoEval rows", ("prompt", "entry_point", "canonical_solution", "inputs"),
        lambda row, number, o: evalplus.evo(row, o.prefix),
        ("task_id", "parent", "main", "helpers"), ("base_input",),
    ),
    Format(
        "bigcodebench", "BigCodeBench rows", ("complete_prompt", "entry_point", "test"),
        lambda row, number, o: bigcodebench.read(row, o.prefix),
        ("task_id", "instruct_prompt", "canonical_solution", "code_prompt", "doc_struct", "libs"),
    ),
    Format(
        "multipl-e", "MultiPL-E rows", ("name", "language", "prompt", "tests"),
        lambda row, number, o: multipl_e.read(row, o.prefix),
        ("doctests", "original", "prompt_terminology", "stop_tokens"),
    ),
    Format(
        "apps", "APPS rows", ("question", "input_output"),
        lambda row, number, o: contests.apps(row),
        ("problem_id", "id", "solutions", "difficulty", "url", "starter_code"),
    ),
    Format(
        "codecontests", "CodeContests rows", ("name", "description", "public_tests"),
        lambda row, number, o: contests.codecontests(row),
        ("private_tests", "generated_tests", "solutions", "incorrect_solutions", "source", "difficulty",
         "cf_contest_id", "cf_index", "cf_points", "cf_rating", "cf_tags", "is_description_translated",
         "untranslated_description", "time_limit", "memory_limit_bytes", "input_file", "output_file"),
    ),
    Format(
        "livecodebench", "LiveCodeBench rows", ("question_id", "question_content", "public_test_cases"),
        lambda row, number, o: contests.livecodebench(row),
        ("question_title", "platform", "contest_id", "contest_date", "starter_code", "difficulty",
         "private_test_cases", "metadata"),
    ),
    Format(
        "answers", "questions with answers", ("|".join(answers.QUESTION), "|".join(answers.ANSWER)),
        lambda row, number, o: answers.read(row, number),
        ("task", "info", "data_source", *answers.IDS, *answers.QUESTION, *answers.ANSWER),
        ("test", "tests", "test_list", "entry_point", "input_output", "completion"),
    ),
)  # fmt: skip
"""Every form but our own."""

NAMES = {form.name: form for form in FORMATS}
RELATED = {"mbpp": ("mbpp", "mbppplus", "evalplus"), "humaneval": ("humaneval", "evalplus", "evoeval")}
"""What a file that is named `mbpp:PATH` or `humaneval:PATH` may turn out to be."""

_OUR_FIELDS = ("description", "tests", "entry_point")


def recognise(row: Row) -> Format | None:
    """The form of a file whose first row this is; None where it is ours, or none that is known."""
    fitting = [form for form in FORMATS if form.fits(row)]
    return max(fitting, key=lambda form: len(form.needs)) if fitting else None


def is_ours(row: Row) -> bool:
    """Whether a row that no other form fits is one of ours, though it may lack something."""
    return any(name in row for name in _OUR_FIELDS)


def said(row: Row) -> str:
    """What is wrong with a row of no known form, and what would help."""
    known = ", ".join(form.name for form in FORMATS)
    return (
        f"rows of no known form, with the fields {', '.join(row) or 'none'} (known: ours, {known}); "
        "name the columns with --map, as in --map task_id=id,description=question,tests=asserts, "
        "or as tasks.map in the config"
    )
