"""Test time: turns see the shown test alone, and what was accepted is kept."""

import json
import os
import pty
import select
import sys
import time

import pytest
from toy import world

from ilf import cli, policy
from ilf.config import EngineConfig, SamplingConfig, VerifyConfig
from ilf.errors import DataError
from ilf.places import Local
from ilf.records import Feedback, read_jsonl
from ilf.solve.dialogue import Quit, difference, plain, talk
from ilf.solve.turns import Solver, kept, shown_only, solution, solve
from ilf.steps import Refiner
from ilf.tasks import load_tasks

WRONG = "def train_0(x: int) -> int:\n    return None\n"
SECRET = 424242


def make(folder, rows, n=1):
    """A solver over a table of answers, and the toy's task train_0 with a hidden test of its own."""
    config = world(folder)
    script = folder / "answers.jsonl"
    script.write_text("".join(json.dumps({"contains": c, "completions": a}) + "\n" for c, a in rows))
    model = policy.get(str(script), EngineConfig(name="scripted"), "chat")
    task = next(t for t in load_tasks(config.tasks.source) if t.task_id == "toy/train_0")
    task = task.model_copy(update={"tests": (task.tests[0], f"assert train_0({SECRET}) == {SECRET + 1}")})
    solver = Solver(
        model, Refiner(model, ()), Local(), sampling=SamplingConfig(n=n), verify=VerifyConfig(), seed=0
    )
    return solver, task


def test_the_shown_test_is_the_only_one_and_stays_the_same(tmp_path):
    _, task = make(tmp_path, [])
    seen = shown_only(task)
    assert seen.tests == (task.shown,) and seen.shown == task.shown
    other = shown_only(task.model_copy(update={"example": "assert train_0(1) == 2"}))
    assert other.tests == ("assert train_0(1) == 2",) and other.shown == "assert train_0(1) == 2"
    with pytest.raises(DataError, match="shows no test"):
        shown_only(task.model_copy(update={"example": ""}))


def test_a_failure_is_refined_until_the_shown_test_passes(tmp_path):
    solver, task = make(
        tmp_path, [("This program is wrong", ["    return x + 1\n"]), ("", ["    return 0\n"])]
    )
    turns = solve(solver, [task], 3)[task.task_id]
    assert [turn.passed for turn in turns] == [False, True]
    assert turns[1].item.source == "execution" and "train_0(5)" in turns[1].item.text
    row = solution(turns)
    assert (row.turns, row.samples, row.shown) == (1, 2, True)
    assert row.tokens == sum(turn.tokens for turn in turns) > 2
    assert kept(turns)[0].refinement == row.code


def test_hidden_tests_decide_nothing_and_are_not_spoken_of(tmp_path):
    only_shown = "    return 6 if x == 5 else 0\n"
    solver, task = make(tmp_path, [("", [only_shown])])
    assert [turn.passed for turn in solve(solver, [task], 3)[task.task_id]] == [True]
    solver, task = make(tmp_path, [("", ["    return x\n"])])
    turns = solve(solver, [task], 2)[task.task_id]
    assert len(turns) == 3 and not turns[-1].passed
    assert not any(str(SECRET) in turn.item.text for turn in turns[1:])
    assert kept(turns)[-1].refinement is None  # nothing to learn from a program that fails


def test_the_best_sample_of_a_turn_goes_on(tmp_path):
    solver, task = make(tmp_path, [("", ["    return (\n", "    return x + 1\n"])], n=2)
    turns = solve(solver, [task], 0)[task.task_id]
    assert turns[0].passed and turns[0].program.index == 1 and turns[0].samples == 2


def test_redrawing_refines_nothing(tmp_path):
    solver, task = make(
        tmp_path, [("This program is wrong", ["    return x + 1\n"]), ("", ["    return 0\n"])]
    )
    turns = solve(solver, [task], 2, redraw=True)[task.task_id]
    assert len(turns) == 3 and not turns[-1].passed and kept(turns) == []


def replies(*lines):
    waiting = iter(lines)

    def ask(prompt):
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    return ask


@pytest.fixture
def dialogue(tmp_path):
    rows = [
        ("Add one", ["    return x + 1\n"]),
        ("Subtract", ["    return x - 1\n"]),
        ("This program is wrong", ["    return x * 7\n"]),
        ("", ["    return 0\n"]),
    ]
    solver, task = make(tmp_path, rows)
    task = shown_only(task)
    draft = solver.drafts([task])[0]
    return lambda *lines, most=4: talk(solver, task, draft, most, replies(*lines), "ann")


def test_a_person_s_words_lead_to_the_next_program(dialogue):
    turns = dialogue("Add one.", "a")
    assert [turn.passed for turn in turns] == [False, True]
    item = kept(turns)[0]
    assert (item.text, item.source, item.author) == ("Add one.", "human", "ann")
    assert item.refinement == turns[-1].program.code and item.code == turns[0].program.code


def test_an_undone_turn_is_not_kept_and_one_in_between_has_no_refinement(dialogue):
    assert [i.text for i in kept(dialogue("Subtract.", "u", "Add one.", "a"))] == ["Add one."]
    items = kept(dialogue("Subtract.", "Add one.", "a"))
    assert [(i.text, i.refinement is None) for i in items] == [("Subtract.", True), ("Add one.", False)]
    assert "x - 1" in items[1].code


def test_skip_quit_and_the_end_of_input(dialogue):
    assert dialogue("Subtract.", "s") is None
    with pytest.raises(Quit):
        dialogue("Subtract.", "q")
    with pytest.raises(Quit):
        dialogue("Subtract.")


def test_turns_are_bounded_and_t_takes_the_test_s_words(dialogue):
    turns = dialogue("t", "Add one.", "a", most=1)
    assert len(turns) == 2 and turns[1].item.source == "execution"


def test_undoing_the_first_program_changes_nothing(dialogue):
    assert len(dialogue("u", "u", "a")) == 1


def test_difference_and_control_characters():
    assert difference("a\nb", "a\nc").splitlines()[-2:] == ["-b", "+c"]
    assert difference("a", "a") == ""
    assert plain("a\x1b[2Jb\n") == "a\ufffd[2Jb\n"


# --- the command line -------------------------------------------------------------------------------------


@pytest.fixture
def ilf(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["ilf", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return call


def options(folder):
    config = world(folder)
    return [
        "--model", config.model, "--engine", "scripted", "--style", "chat", "--tasks", config.tasks.source,
    ]  # fmt: skip


def test_batch_writes_programs_and_adds_feedback(ilf, tmp_path):
    common = options(tmp_path)
    out, keep = tmp_path / "out.jsonl", tmp_path / "keep.jsonl"
    again = ["solve", *common, "toy/train_0", "toy/train_1", "--out", out, "--keep", keep]
    status, _, err = ilf(*again)
    assert status == 0 and "2 of 2 programs pass the shown test" in err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["task_id"], r["shown"], r["turns"]) for r in rows] == [
        ("toy/train_0", True, 1), ("toy/train_1", True, 1),
    ]  # fmt: skip
    assert len(list(read_jsonl(keep, Feedback))) == 2
    assert ilf(*again)[0] == 0
    assert len(list(read_jsonl(keep, Feedback))) == 4  # added, not overwritten
    verify = ["verify", "--tasks", common[-1], "--programs", out, "--out", tmp_path / "v.jsonl"]
    assert ilf(*verify)[0] == 0
    follow = ["refine", *common, "--feedback", keep, "-n", 1, "--out", tmp_path / "r.jsonl"]
    assert ilf(*follow)[0] == 0  # what was kept is feedback for the next run


def test_refine_program_follows_a_typed_text(ilf, tmp_path):
    common = options(tmp_path)
    program = tmp_path / "p.py"
    program.write_text(WRONG)
    one = ["refine", *common, "--program", program, "--feedback", "It returns nothing.", "-n", 1]
    status, out, err = ilf(*one, "--ids", "toy/train_0")
    assert status == 0 and out == "def train_0(x: int) -> int:\n    return x + 1\n"
    assert "passes the shown test" in err
    assert ilf(*one, "--ids", "toy/train_0", "--out", tmp_path / "new.py")[1] == ""
    assert "x + 1" in (tmp_path / "new.py").read_text()


def test_mistakes_are_told_in_one_line(ilf, tmp_path):
    common = options(tmp_path)
    program = tmp_path / "p.py"
    program.write_text(WRONG)
    one = ["refine", *common, "--program", program]
    for words, said in (
        ([*one, "--feedback", "x"], "choose with --ids"),
        ([*one, "--feedback", " ", "--ids", "toy/train_0"], "say what is wrong"),
        ([*one, "--feedback", "x", "--shuffle"], "not for --program"),
        (["refine", *common, "--feedback", "f.jsonl"], "--out"),
        (["refine", *common, "--program", tmp_path / "no.py", "--feedback", "x", "--ids", "toy/train_0"],
         "cannot be read"),
        (["solve", *common, "toy/train_0", "--ids", "split=train"], "not both"),
    ):  # fmt: skip
        status, _, err = ilf(*words)
        assert status == 2 and err.strip().splitlines()[-1].startswith("ilf: ") and said in err, err


def test_on_a_terminal_it_asks(tmp_path):
    """A real pseudo-terminal: the program, the prompt, a typed text, the diff in colour, acceptance."""
    common = options(tmp_path)
    keep = tmp_path / "keep.jsonl"
    words = ["solve", *common, "toy/train_0", "--keep", str(keep)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100")
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-m", "ilf.cli", *map(str, words)])
    seen = b""

    def wait_for(part, since=0):
        nonlocal seen
        until = time.monotonic() + 60
        while part not in seen[since:]:
            assert time.monotonic() < until, seen.decode(errors="replace")
            if select.select([terminal], [], [], 1)[0]:
                try:
                    seen += os.read(terminal, 4096)
                except OSError:  # the other side is gone
                    break
        assert part in seen[since:], seen.decode(errors="replace")
        return seen.index(part, since) + len(part)

    at = wait_for(b"> ")
    os.write(terminal, b"It returns nothing.\n")
    at = wait_for(b"passes the shown test", at)
    at = wait_for(b"> ", at)
    os.write(terminal, b"a\n")
    wait_for(b"1 feedback items added", at)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status == 0
    assert b"\x1b[" in seen and b"+" in seen  # colour, and an added line
    item = next(iter(read_jsonl(keep, Feedback)))
    assert item.text == "It returns nothing." and item.source == "human" and "x + 1" in item.refinement
