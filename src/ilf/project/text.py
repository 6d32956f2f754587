"""The files of a new project that people read: config, README and `.gitignore`."""

from __future__ import annotations

import json

CONFIG = """\
# A run of ilf (Imitation learning from Language Feedback): ilf run {config}
# Every setting with its default: ilf config show {config}
name = {name}
model = {model}          # a hub id, a folder, PATH.gguf; this one comes with a package and runs offline
seed = 0

[tasks]
source = "tasks.jsonl"          # {counts}

[prompts]
style = "chat"                  # "completion" for base models

[sampling]
n = 10                          # programs a task; what the model can do is seen better with more
temperature = 0.8
max_tokens = {max_tokens}                # {max_tokens_why}

{feedback}
[refiner]
{refiner}
sampling = {{ n = 20, temperature = 0.8, max_tokens = {refiner_tokens} }}

[finetune]
learning_rate = 2e-5
batch_size = 8
epochs = 3
warmup_ratio = 0.1

[evaluation]
k = [1, 10]
sampling = {{ n = 10, temperature = 0.8, max_tokens = {max_tokens} }}
"""

FROM_EXECUTION = """\
[feedback]
source = "execution"            # what running the programs says: needs nobody, and makes this run as it is
# source = "human"              # people write it in the browser: ilf annotate runs/{name}
# source = "recorded"           # what was written before; feedback.jsonl has {items} worked items to go by
# path = "feedback.jsonl"
only_unsolved = false           # true, the paper's: only on tasks that the model never solved
"""

FROM_FILE = """\
[feedback]
source = "recorded"
path = "feedback.jsonl"         # {items} items
# source = "human"              # people write more in the browser: ilf annotate runs/{name}
only_unsolved = false           # true, the paper's: only on tasks that the model never solved
"""

FEW_SHOT = """\
method = "few-shot"             # "finetune" needs some dozens of feedback items with a corrected program
shots = {shots}                       # worked items of split refine in the prompt"""

FINETUNE = """\
method = "finetune"             # learns from the corrected programs on split refine
finetune = { learning_rate = 5e-5, batch_size = 8, epochs = 3, warmup_ratio = 0.1 }"""

REWARD = """
[verify.reward]                 # what a text is worth, from 0 to 1: docs/text.md
threshold = 0.8                 # an answer under it is wrong
terms = [{ by = "function", function = "rules:score" }]   # rules.py: start with PYTHONPATH=. ilf run

[selection]
strategy = "best"               # of the refinements that reach the threshold the one with the highest R
"""

RULES = '''"""What a text is worth, from 0 to 1, and what is missing in a sentence. A start: make it yours."""


def score(task, text):
    """Half for what `tests` wants to be kept, half for at most 1.5 times the words of the reference."""
    missing = [fact for fact in task.tests if fact.lower() not in text.lower()]
    kept = 1 - len(missing) / len(task.tests) if task.tests else 1.0
    words, most = len(text.split()), int(1.5 * len((task.reference or "").split())) or 100
    why = [f"It leaves out {' and '.join(missing)}."] if missing else []
    why += [f"It has {words} words; at most {most} are asked for."] if words > most else []
    return (kept + min(1.0, most / max(1, words))) / 2, " ".join(why)
'''

README = """\
# {name}

A project of [ilf](https://arxiv.org/abs/2303.16749): make a code model better from what people say about its
programs.

    ilf run {config} --dry-run    the whole loop in seconds, with a scripted model
    ilf run {config}              the run; interrupted, the same command goes on
    ilf report runs/{name}

| file | what |
|---|---|
| `{config}` | the settings, commented |
| `tasks.jsonl` | {counts} |
| `feedback.jsonl` | {feedback} |
| `runs/` | what runs make (not in git) |

`ilf tasks show tasks.jsonl ID` shows a task with its prompt. The reference programs and those of the feedback
are run by `ilf tasks check tasks.jsonl --feedback feedback.jsonl`.

## Feedback

One row says what is wrong with one program and how to fix it:

    {row}

Good feedback names one bug, where it is, and what would be right; it does not contain the whole corrected
program (that is `refinement`). To write some in the browser set `feedback.source = "human"`, run, and follow
what the run says; to use a file set `feedback.source = "recorded"` and `feedback.path`.
{outlook}"""

GITIGNORE = "runs/\nstudies/\n__pycache__/\n*.part\n*.tmp\n"


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)
