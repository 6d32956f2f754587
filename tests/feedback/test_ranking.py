from ilf.feedback import candidates
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


def test_candidates_are_a_task_s_best_wherever_its_samples_stand():
    def of(task, code, status, tests=(False, False)):
        program = Program(task_id=task, code=code)
        return program, Verdict(task_id=task, program_id=program.program_id, status=status, tests=tests)

    pairs = [
        of("a", "x = 1", "failed"),
        of("a", "y = 2", "failed", (True, False)),
        of("b", "z", "error"),
        of("b", "passes", "passed"),
        of("a", "nearer = 3", "failed", (True, True)),
        of("b", "again", "failed"),
    ]

    def best(**options):
        found = candidates((p for p, _ in pairs), (v for _, v in pairs), **options)
        return {task: [program.code for program, _ in ranked] for task, ranked in found.items()}

    assert best() == {"a": ["nearer = 3"]}  # b is solved, and stays so
    assert best(only_unsolved=False, most=2) == {"a": ["nearer = 3", "y = 2"], "b": ["again", "z"]}


def test_parsed_share_counts_lines_before_the_error():
    assert parsed_share("a = 1\nb = 2\n") == 1
    assert 0 < parsed_share("a = 1\nb = (\n") < 1
    assert parsed_share("x = (") == 0
    assert parsed_share("a\x00b") == 0
