"""Is a starter task a copy of an MBPP or HumanEval task? Compare all pairs and list the nearest.

    python tools/overlap.py --mbpp ../shared/data/mbpp.jsonl [--humaneval HumanEval.jsonl.gz] [--top 25]

Two measures in [0, 1] for each pair: descriptions by the Jaccard index of their words (stop words left out,
plural and verb endings cut), programs by the Jaccard index of their token trigrams with all names of
variables made equal. A pair is `the same task in the same words` where the descriptions reach `SAME_WORDS`;
exit status 1 if there is one.
"""

from __future__ import annotations

import argparse
import builtins
import gzip
import io
import json
import keyword
import re
import sys
import tokenize
from pathlib import Path

from ilf.records import Task, read_jsonl

TASKS = Path(__file__).resolve().parent.parent / "src/ilf/tasks/starter/tasks.jsonl"
SAME_WORDS = 0.75
STOP_WORDS = """
a an and are as at be by for from function given has have if in is it its of on or python return returns
should that the then this to using was when where whether which with write
"""
STOP = frozenset(STOP_WORDS.split())


def words(text: str) -> frozenset[str]:
    """The content words of a description."""
    found = re.findall(r"[a-z0-9]+", text.lower())
    return frozenset(re.sub(r"(ing|ed|es|s)$", "", word) or word for word in found if word not in STOP)


def trigrams(code: str) -> frozenset[tuple[str, ...]]:
    """Token trigrams of a program, without its signature, comments and layout, variables made equal."""
    body = re.sub(r"(?m)^\s*(def|import|from) .*\n?", "", code.replace("\r\n", "\n"))
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(body).readline):
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                builtin = hasattr(builtins, token.string) or (tokens and tokens[-1] == ".")
                tokens.append(token.string if builtin else "v")
            elif token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP):
                tokens.append(token.string)
    except (tokenize.TokenError, IndentationError):
        pass
    return frozenset(zip(tokens, tokens[1:], tokens[2:], strict=False))


def jaccard(one: frozenset[object], other: frozenset[object]) -> float:
    """Size of the intersection over size of the union."""
    return len(one & other) / len(one | other) if one or other else 0.0


def others(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """(id, description, program) of every task to compare with."""
    rows = []
    if options.mbpp and options.mbpp.exists():
        for line in options.mbpp.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.append((f"mbpp/{row['task_id']}", row["text"], row["code"]))
    if options.humaneval and options.humaneval.exists():
        with gzip.open(options.humaneval, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                text = row["prompt"].split(">>>")[0]
                quoted = re.findall(r'"""(.*?)(?:"""|$)|\'\'\'(.*?)(?:\'\'\'|$)', text, re.DOTALL)
                said = " ".join("".join(pair) for pair in quoted)
                rows.append((row["task_id"], said, row["canonical_solution"]))
    return rows


def first(pair: tuple[float, str, Task, str]) -> float:
    """The score of a pair."""
    return pair[0]


def main() -> int:
    """Print the nearest pairs by description, then by program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, default=TASKS)
    parser.add_argument("--mbpp", type=Path, help="mbpp.jsonl as published")
    parser.add_argument("--humaneval", type=Path, help="HumanEval.jsonl.gz as published")
    parser.add_argument("--top", type=int, default=25, help="pairs to list")
    options = parser.parse_args()
    published = [(name, text, words(text), trigrams(code)) for name, text, code in others(options)]
    if not published:
        parser.error("nothing to compare with: give --mbpp or --humaneval a file that exists")
    said, written = [], []
    tasks = read_jsonl(options.tasks, Task)
    for task in tasks:
        mine, program = words(task.description), trigrams(task.reference or "")
        said.append(
            max(((jaccard(mine, other), name, task, text) for name, text, other, _ in published), key=first)
        )
        written.append(
            max(
                ((jaccard(program, other), name, task, text) for name, text, _, other in published), key=first
            )
        )
    for title, pairs in (("descriptions", said), ("programs", written)):
        print(f"nearest {title}:")
        for score, name, task, text in sorted(pairs, key=first, reverse=True)[: options.top]:
            print(f"  {score:.2f}  {task.task_id}: {task.description}")
            print(f"        {name}: {' '.join(text.split())[:200]}")
    same = [pair for pair in said if pair[0] >= SAME_WORDS]
    print(f"{len(tasks)} tasks against {len(published)}: {len(same)} the same task in the same words")
    return 1 if same else 0


if __name__ == "__main__":
    sys.exit(main())
