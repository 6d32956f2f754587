"""Code review as feedback: four exports of one small review, joined with a repository that is made here."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.errors import DataError
from ilf.feedback import recorded
from ilf.records import Feedback, Task, read_jsonl
from ilf.review.command import import_reviews
from ilf.review.exports import read
from ilf.tasks import load_tasks

SAMPLES = Path(__file__).parent / "samples"
BEFORE = '''import math


def mean(values):
    """The mean of some numbers."""
    return sum(values) / len(values)


def root(value):
    return math.sqrt(value)


def last(values):
    return values[len(values)]


def untested(values):
    return helper(values)


def helper(values):
    """Twice.

    >>> helper([1])
    [1, 1]
    >>> helper([])
    []
    >>> helper(1)
    Traceback (most recent call last):
    TypeError: no
    >>> x = helper([1])
    """
    return values + values[:1] * 2


if __name__ == "__main__":
    print(last([1]))
'''
AFTER = (
    BEFORE.replace("    return sum", "    if not values:\n        return 0.0\n    return sum")
    .replace("math.sqrt(value)", "value ** 0.5")
    .replace("helper(values)\n\n\ndef h", "helper(values) or 1\n\n\ndef h")
    .replace("[:1] * 2", "[:]")
)
TESTS = """import math
import unittest

from stats import last, mean, root


def test_mean():
    assert mean([1, 3]) == 2
    assert mean([]) == 0.0


def test_root():
    assert math.isclose(root(4), 2)


class TestLast(unittest.TestCase):
    def test_last(self):
        self.assertEqual(last([1, 2]), 2)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A clone with a reviewed commit and the one after it; `last` was never mended."""
    folder = tmp_path_factory.mktemp("clone")

    def git(*words):
        names = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", folder, *names, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (folder / "stats.py").write_text(BEFORE)
    git("add", "."), git("commit", "-qm", "before")
    (folder / "stats.py").write_text(AFTER)
    (folder / "test_stats.py").write_text(TESTS)
    git("add", "."), git("commit", "-qm", "after")
    return folder, git("rev-parse", "HEAD~1")


@pytest.fixture
def export(tmp_path, repository):
    """A sample that names the reviewed commit."""

    def make(name):
        path = tmp_path / name
        path.write_text((SAMPLES / name).read_text().replace("COMMIT", repository[1]))
        return path

    return make


def dropped(folder):
    rows = map(json.loads, (folder / "dropped.jsonl").read_text().splitlines())
    return {row["where"].rpartition("/")[2]: row["why"] for row in rows}


def test_github(tmp_path, repository, export):
    found = import_reviews([export("github.json")], repository[0], tmp_path / "out")
    mean, last = found.feedback
    assert mean.text == (
        "This divides by zero for an empty list; return 0.0 there.\n\nThe test should say so, too."
    )
    assert (mean.source, mean.author, mean.created) == ("review", "reviewer", "2026-01-02T03:04:05Z")
    assert mean.task_id == f"stats.py:mean@{repository[1][:10]}"
    assert mean.code.endswith("    return sum(values) / len(values)\n") and "__main__" not in mean.code
    assert mean.refinement.endswith("        return 0.0\n    return sum(values) / len(values)\n")
    assert last.text == "The last index is one less."
    assert last.refinement.endswith("def last(values):\n    return values[len(values) - 1]\n")
    assert dropped(tmp_path / "out") == {
        "github.json, row 5": "the code passes its tests as it was",
        "github.json, row 6": "written by a bot",
        "github.json, row 7": "on a line that is removed",
        "github.json, row 8": "not about Python",
        "github.json, row 9": "its commit is not in the repository",
        "github.json, row 10": "no words",
        "github.json, row 11": "a reply to a comment that is not in the export",
    }


def test_what_is_written_is_what_a_run_reads(tmp_path, repository, export):
    import_reviews([export("github.json")], repository[0], tmp_path / "out")
    tasks = {task.task_id: task for task in load_tasks(str(tmp_path / "out" / "tasks.jsonl"))}
    items, counts = recorded.load(tmp_path / "out" / "feedback.jsonl", tasks)
    assert len(items) == 2 and counts["left out, refinement fails"] == 0
    task = tasks[items[0].task_id]
    assert task.prefix.endswith("\n\ndef mean(values):\n") and task.prefix.startswith("import math\n")
    assert task.description == "The mean of some numbers."
    assert task.setup == "import math\nimport unittest"
    assert task.tests[0].startswith("def test_mean")


@pytest.mark.parametrize(
    ("name", "said", "author", "why"),
    [
        ("gitlab.json", "An empty list fails here.", "reviewer",
         ["on no line of a file", "written by a bot", "on a line that is removed"]),
        ("mail.patch", "What about an empty list? This divides by zero.", "Re Viewer",
         ["on a line that is removed"]),
    ],
)  # fmt: skip
def test_gitlab_and_mail(tmp_path, repository, export, name, said, author, why):
    (item,) = import_reviews([export(name)], repository[0], tmp_path / "out").feedback
    assert (item.text, item.author) == (said, author)
    assert item.code.endswith("    return sum(values) / len(values)\n")
    assert list(dropped(tmp_path / "out").values()) == why


def test_a_linter_and_what_cannot_be_verified(tmp_path, repository, export):
    with pytest.raises(DataError, match=r"no comment could be verified.*dropped\.jsonl"):
        import_reviews([export("lint.sarif")], repository[0], tmp_path / "out")
    assert list(dropped(tmp_path / "out").values()) == [
        "on no line of a file",
        "the function did not change afterwards, and nothing is suggested",
    ]


def sarif(tmp_path, commit, line):
    row = json.loads((SAMPLES / "lint.sarif").read_text().replace("COMMIT", commit))
    row["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = line
    path = tmp_path / "line.sarif"
    path.write_text(json.dumps(row))
    return path


def test_doctests_where_no_test_file_names_the_function(tmp_path, repository):
    line = BEFORE.split("\n").index("    return values + values[:1] * 2") + 1
    found = import_reviews([sarif(tmp_path, repository[1], line)], repository[0], tmp_path / "out")
    (task,) = found.tasks.values()
    assert task.tests[:2] == ("assert (helper([1])) == [1, 1]", "assert (helper([])) == []")
    assert len(task.tests) == 3 and task.tests[2].endswith("assert raised == 'TypeError'")
    assert task.description == "Twice." and found.feedback[0].author == "a-linter"


@pytest.mark.parametrize(
    ("line", "why"), [(1, "in no function at the top of the file"), (18, "the function has no tests")]
)
def test_reasons(tmp_path, repository, line, why):
    with pytest.raises(DataError):
        import_reviews([sarif(tmp_path, repository[1], line)], repository[0], tmp_path / "out")
    assert why in dropped(tmp_path / "out").values()


def test_tests_of_a_task_source(tmp_path, repository):
    task = {"task_id": "u", "description": "d", "entry_point": "untested",
            "tests": ["assert untested([]) == 1"]}  # fmt: skip
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    found = import_reviews(
        [sarif(tmp_path, repository[1], 18)],
        repository[0],
        tmp_path / "out",
        tasks=str(tmp_path / "tasks.jsonl"),
    )
    assert [t.tests for t in found.tasks.values()] == [("assert untested([]) == 1",)]
    # What stands below the function in its file stands above it in the task.
    assert "def helper" in read_jsonl(tmp_path / "out" / "tasks.jsonl", Task)[0].prefix
    assert len(read_jsonl(tmp_path / "out" / "feedback.jsonl", Feedback)) == 1


def test_mistakes_in_one_line(tmp_path, repository, export):
    other = tmp_path / "other.json"
    for text, said in [('[{"a": 1}]', "neither review comments"), ("[]", "nothing in it"), ("{", "not JSON")]:
        other.write_text(text)
        with pytest.raises(DataError, match=f"other.json.*{said}"):
            read(other)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.json")
    (tmp_path / "plain.patch").write_text("+++ b/x.py\n@@ -1 +1 @@\n+x\n")
    with pytest.raises(DataError, match="no patch quoted"):
        read(tmp_path / "plain.patch")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="not a git repository"):
        import_reviews([export("github.json")], tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="no version '--all'"):
        import_reviews([export("github.json")], repository[0], tmp_path / "out", head="--all")


KEYS = st.sampled_from(
    ["notes", "position", "new_line", "new_path", "body", "author", "username", "runs", "results", "message", "text",
     "locations", "physicalLocation", "region", "startLine", "user", "login", "path", "original_line", "id",
     "in_reply_to_id", "side", "diff_hunk", "old_line", "system", "line_range"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(KEYS, JSON, max_size=8), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_json_is_read_or_refused_in_one_line(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(rows))
    try:
        reading = read(path)
    except DataError as error:
        assert "any.json" in str(error)
        return
    assert all(1 <= one.first <= one.last and one.path and one.text for one in reading.comments)


@given(st.lists(st.sampled_from(
    ["> --- a/x.py", "> --- /dev/null", "> +++ b/x.py", "> @@ -1,2 +3,4 @@", "> +new", ">  same", "> -old", ">", "words here",
     "From abcdef0 x", "", "> commit abcdef0"]), max_size=14))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_mail_is_read_or_refused_in_one_line(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "any.patch"
    path.write_text("\n".join(lines))
    try:
        reading = read(path)
    except DataError as error:
        assert "any.patch" in str(error)
        return
    assert all(one.first == one.last >= 1 and one.path == "x.py" for one in reading.comments)
