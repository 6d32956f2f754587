"""Tokens to text: whatever the tokens' edges, the text is the decoder's, cut before the first stop string."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tinymodels import byte_tokenizer

pytest.importorskip("transformers")

from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams  # noqa: E402
from ilf.sampling.text import TextStream, cut, encode, sample_key  # noqa: E402

TOKENIZER = byte_tokenizer()
LETTERS = st.text(st.sampled_from("ab\n`é漢😀 "), max_size=30)


def stream(tokens, stop=(), max_tokens=1000, prompt="prompt é"):
    found = TextStream(
        TOKENIZER, TOKENIZER(prompt).input_ids, SamplingParams(stop=stop, max_tokens=max_tokens), [0]
    )
    for token in tokens:
        if found.push(token):
            break
    return found


@given(LETTERS, st.lists(st.text(st.sampled_from("ab\n`é"), min_size=1, max_size=3), max_size=3))
@example("`é`", ["é", "`é`"])
def test_the_text_is_cut_before_the_first_stop_string(text, stop):
    found = stream([*TOKENIZER(text).input_ids, 0], tuple(stop))
    # The one that is complete first; of those that are complete together, the longest.
    _, at = min(
        ((text.find(part) + len(part), text.find(part)) for part in stop if part in text),
        default=(0, len(text)),
    )
    assert found.text == text[:at]
    assert found.finish == "stop"
    assert found.text == cut(text, stop)


@given(LETTERS, st.text(st.sampled_from("ab\n`"), min_size=1, max_size=3))
def test_no_token_is_taken_after_the_stop_string_is_complete(text, stop):
    found = stream([*TOKENIZER(text).input_ids, 0], (stop,))
    at = text.find(stop)
    needed = len(text[: at + len(stop)].encode()) if at >= 0 else len(text.encode()) + 1
    assert found.tokens == needed


def test_a_half_character_waits_and_is_marked_at_the_end():
    tokens = TOKENIZER("a漢").input_ids
    half = stream(tokens[:2], max_tokens=2)
    assert (half.text, half.finish, half.tokens) == ("a\ufffd", "length", 2)
    assert stream(tokens, max_tokens=4).text == "a漢"


def test_the_end_token_is_counted_and_not_shown():
    found = stream([*TOKENIZER("ab").input_ids, 0])
    assert (found.text, found.tokens, found.finish) == ("ab", 3, "stop")


def test_prompts_are_tokenised_as_written():
    (ids,) = encode(TOKENIZER, [Prompt("<end>a")], SamplingParams(max_tokens=4), 100)
    assert ids[0] == 0
    assert len(ids) == 2


def test_keys_differ_by_all_that_makes_a_sample():
    keys = {
        sample_key(*parts)
        for parts in [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]
    }
    assert len(keys) == 5
    assert sample_key(0, "a\ud800", 0, 0) == sample_key(0, "a\ud800", 0, 0)
