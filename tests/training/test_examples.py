from pathlib import Path

import pytest

from ilf.errors import TrainingError
from ilf.models import load_tokenizer
from ilf.records import Example
from ilf.training import check_examples
from ilf.training.examples import inspect_examples, show_row, tokenise


@pytest.fixture(scope="module")
def tokenizer(tiny: Path):
    return load_tokenizer(tiny)


def example(prompt: str = "def a", completion: str = "return b", **more) -> Example:
    return Example(prompt=prompt, completion=completion, **more)


def test_prompt_and_completion_are_tokenised_apart_and_end_with_the_end_token(tokenizer) -> None:
    assert tokenizer.pad_token_id == tokenizer.eos_token_id  # the case that loses the end token elsewhere
    row = tokenise(tokenizer, example())
    assert row.prompt == tuple(tokenizer("def a", add_special_tokens=False).input_ids)
    assert row.completion[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(list(row.completion[:-1])) == "return b"


def test_an_end_token_in_the_text_is_not_doubled(tokenizer) -> None:
    assert (
        tokenise(tokenizer, example(completion="return <end>")).completion.count(tokenizer.eos_token_id) == 1
    )


def test_counts(tokenizer) -> None:
    report = check_examples(tokenizer, [example(), example(weight=0), example("a b c")], 20)
    assert (report.examples, len(report.rows), report.unweighted) == (3, 2, 1)
    assert (report.prompt_tokens, report.label_tokens, report.longest) == (5, 6, 6)
    assert [row.index for row in report.rows] == [0, 2]
    assert "1 of weight 0" in report.summary()


def test_the_shown_row_marks_what_is_learnt(tokenizer) -> None:
    shown = check_examples(tokenizer, [example()], 20).shown
    assert shown.endswith("def a⟦return b <end>⟧")
    assert "[2 tokens given, 3 learnt, weight 1]" in shown
    long = show_row(tokenizer, tokenise(tokenizer, example("a " * 900, "b " * 900)), width=100)
    assert len(long) < 400


def test_too_long_examples_are_named_never_cut(tokenizer) -> None:
    given = [example(), example("a " * 30, task_id="17"), example("a " * 31)]
    with pytest.raises(
        TrainingError, match=r"row 2 \(task 17\): 33 tokens, row 3: 34 tokens.*max_length = 20"
    ):
        check_examples(tokenizer, given, 20)
    report = check_examples(tokenizer, given, 20, drop_too_long=True)
    assert len(report.rows) == 1 and len(report.too_long) == 2
    assert "2 too long" in report.summary()


def test_many_names_are_cut_to_a_count(tokenizer) -> None:
    with pytest.raises(TrainingError, match="row 5.* and 3 more:") as error:
        check_examples(tokenizer, [example("a " * 30)] * 8, 20)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no examples to train on"),
        ([example(), example(completion=" \n")], "row 2: no trainable tokens"),
        ([example(completion="a <end> b")], "row 1: the end token <end> stands inside"),
        ([example(weight=0)], "all 1 are of weight 0"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(tokenizer, given: list[Example], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_examples(tokenizer, given, 20)


def test_all_dropped_is_refused(tokenizer) -> None:
    with pytest.raises(TrainingError, match="all 2 are too long"):
        check_examples(tokenizer, [example("a " * 30)] * 2, 20, drop_too_long=True)


def test_a_tokenizer_without_an_end_token_is_refused(tiny: Path) -> None:
    bare = load_tokenizer(tiny)
    bare.eos_token = None
    assert inspect_examples(bare, [example()], 20).endless == ("row 1",)
    with pytest.raises(TrainingError, match="row 1: no end token"):
        check_examples(bare, [example()], 20)
