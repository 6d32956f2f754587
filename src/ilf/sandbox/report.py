"""A verdict as text for a person or a refinement model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilf.records import Task

SLOW_TESTS = "testing what the program returned took too long"
LABELS = {"timeout": "Time limit", "memory": "Memory limit", "killed": "Killed"}


def detail_of(fields: Mapping[str, Any], task: Task) -> str:
    """What happened, in a few lines: the failing call, expected and actual value, the exception and its line,
    which tests passed, and the end of what was printed.

    Args:
        fields: of the verdict; absent means None.
        task: whose tests ran.
    """
    status, error = fields["status"], fields.get("error")
    total = len(task.tests)
    if status == "no_code":
        return "There is no program."
    if status == "sandbox_error":
        return f"The sandbox itself failed; this says nothing about the program. {error or ''}".strip()
    lines = []
    if status == "passed":
        lines.append(f"All {total} tests passed." if total > 1 else "The test passed.")
    else:
        results = fields["tests"]
        ran = any(result is not None for result in results)
        number = fields.get("test")
        if number is not None and number < total:
            test, call = task.tests[number].strip(), (fields.get("call") or "").strip()
            lines.append(f"Failed: {test}")
            if call and call != test:
                lines.append(f"Call: {call}")
        elif not ran and error != SLOW_TESTS:
            lines.append("The program failed before any test ran.")
        if fields.get("expected") is not None:
            lines.append(f"Expected: {fields['expected']}")
        if fields.get("actual") is not None:
            lines.append(f"Got: {fields['actual']}")
        if error is not None:
            lines.append(f"{LABELS.get(status, 'Error')}: {error}")
        if fields.get("line") is not None:
            lines.append(f"At line {fields['line']} of the program.")
        if ran:
            passed = [str(index + 1) for index, result in enumerate(results) if result]
            which = f" (test {', '.join(passed)})" if passed and len(passed) < total <= 20 else ""
            lines.append(f"{len(passed)} of {total} tests passed{which}.")
    printed = (fields.get("stdout") or "").strip()
    if printed:
        lines.append(f"Printed: {printed[-1000:]}")
    return "\n".join(lines)
