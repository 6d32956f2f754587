from ilf.feedback.ranking import parsed_share, rank
from ilf.records import Program, Verdict


def judged(code: str, status: str, tests: tuple = (False, False)) -> tuple[Program, Verdict]:
    program = Program(task_id="t", code=code)
    return program, Verdict(task_id="t", program_id=program.program_id, status=status, tests=tests)


def codes(pairs) -> list[str]:
    return [program.code for program, _ in rank(pairs)]


def test_more_tests_passed_comes_first():
    pairs = [
        judged("a = 1", "failed"),
        judged("b = 2", "failed", (True, False)),
        judged("c = 3", "failed", (True, None)),
    ]
    assert set(codes(pairs)[:2]) == {"b = 2", "c = 3"}
    assert codes(pairs)[2] == "a = 1"


def test_then_what_parses_and_runs():
    pairs = [
        judged("x = (", "error"),
        judged("a = 1\nb = 2\nx = (", "error"),
        judged("while True: pass", "timeout"),
        judged("raise ValueError", "error"),
        judged("f = 1", "failed"),
        judged("", "no_code"),
    ]
    assert codes(pairs) == [
        "f = 1", "raise ValueError", "while True: pass", "", "a = 1\nb = 2\nx = (", "x = (",
    ]  # fmt: skip


def test_then_what_most_samples_agree_on():
    pairs = [judged("zzzzzzzz = 99999", "failed"), judged("a = 1 + 1", "failed"), judged("a = 1 + 2", "failed"),
             judged("a = 1 + 3", "failed")]  # fmt: skip
    assert codes(pairs)[-1] == "zzzzzzzz = 99999"


def test_copies_passes_and_sandbox_errors_are_left_out():
    pairs = [
        judged("a = 1", "failed"),
        judged("a = 1\n", "failed"),
        judged("b", "passed"),
        judged("c", "sandbox_error"),
    ]
    assert codes(pairs) == ["a = 1"]
    assert len(rank([judged(f"a = {n}", "failed") for n in range(50)], most=8)) == 8


def test_parsed_share_counts_lines_before_the_error():
    assert parsed_share("a = 1\nb = 2\n") == 1
    assert 0 < parsed_share("a = 1\nb = (\n") < 1
    assert parsed_share("x = (") == 0
    assert parsed_share("a\x00b") == 0
