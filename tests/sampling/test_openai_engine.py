"""Engine `openai` against a server with faults."""

import time

import pytest

pytest.importorskip("openai")

from ilf.errors import ConfigError, ModelError  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, open_sampler  # noqa: E402
from ilf.sampling.openai_protocol import Protocol, Request  # noqa: E402

PROMPT = Prompt("def f():\n")
CHAT = Prompt("user: add\n```python\ndef f():\n", user="add", prefill="```python\ndef f():\n")


@pytest.fixture
def sampler(server, monkeypatch):
    monkeypatch.setattr("ilf.sampling.servers.FIRST_PAUSE", 0.01)
    return lambda **options: open_sampler("openai", "m", base_url=server.url, **options)


def run(sampler, prompts=(PROMPT,), n=3, **params):
    found = sampler.sample(prompts, SamplingParams(**({"n": n, "max_tokens": 12} | params)))
    return sorted(found, key=lambda c: (c.prompt, c.index))


@pytest.mark.parametrize("fault", [429, 500, 503])
def test_load_and_failures_are_tried_again(server, sampler, fault):
    expected = run(sampler())
    server.faults = [fault, fault]
    assert run(sampler(concurrency=1)) == expected
    assert len(server.requests) == 4


def test_a_hanging_request_is_given_up_and_tried_again(server, sampler):
    server.faults = ["hang"]
    began = time.monotonic()
    assert len(run(sampler(timeout=0.3))) == 3
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("fault", "said"), [(500, "no luck"), (429, "RateLimitError"), ("hang", "APITimeoutError")]
)
def test_what_does_not_get_better_is_one_line(server, sampler, fault, said):
    server.faults = [fault] * 4
    with pytest.raises(ModelError, match=said) as caught:
        run(sampler(timeout=0.2, retries=1))
    assert "\n" not in str(caught.value)
    assert "model 'm', prompt 0" in str(caught.value)


@pytest.mark.parametrize(("fault", "said"), [("not json", "JSONDecodeError"), ("no choices", "overloaded")])
def test_something_else_than_completions_is_refused(server, sampler, fault, said):
    server.faults = [fault]
    with pytest.raises(ModelError, match=said):
        run(sampler())


def test_no_server_is_one_line(sampler):
    nowhere = open_sampler("openai", "m", base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9.*APIConnectionError"):
        run(nowhere)


def test_a_real_refusal_is_not_tried_again(server, sampler):
    server.faults = [400]
    with pytest.raises(ModelError, match="BadRequestError"):
        run(sampler())
    assert len(server.requests) == 1


def test_fields_that_the_server_refuses_are_left_out(server, sampler):
    server.refuses = {"n", "logprobs"}
    found = run(sampler(concurrency=1), [PROMPT, PROMPT], n=3)
    assert [(c.prompt, c.index) for c in found] == [(p, i) for p in range(2) for i in range(3)]
    assert all(c.logprob is None and c.tokens == 12 for c in found)
    assert len({c.text for c in found}) == 6  # each request has a seed of its own
    assert len(server.requests) == 7  # one was refused


@pytest.mark.parametrize("prompt", [PROMPT, CHAT], ids=["completion", "chat"])
def test_a_server_that_takes_four_stop_strings_gets_four_and_the_rest_is_cut_here(server, sampler, prompt):
    stop = ("never", "nor this", "nor that", "nor those", "+", "STOP")
    expected = run(sampler(), [prompt], n=8, stop=stop)
    assert {c.finish for c in expected} == {"stop"}
    server.most_stops, server.requests = 4, []
    # Log-probabilities and token counts end with the stop string, too, as if the server had stopped there.
    found = run(sampler(concurrency=1), [prompt], n=8, stop=stop)
    assert found == expected
    assert [len(body["stop"]) for _, body, _ in server.requests[-2:]] == [6, 4]
    assert server.requests[-1][1]["stop"] == list(stop[:4])


def test_a_stop_string_cut_here_counts_with_all_its_tokens():
    from types import SimpleNamespace as Answer

    listed = [("x", -1.0), ("\n", -0.5), ("``", -0.25), ("`", -0.125), ("behind", -9.0)]
    logprobs = Answer(tokens=[token for token, _ in listed], token_logprobs=[value for _, value in listed])
    choice = Answer(text="x\n```behind", logprobs=logprobs, finish_reason="length")
    protocol = Protocol("m", "completions", True, {})
    params = SamplingParams(n=1, stop=("\n```", "\n```behind"))
    found = protocol.read(Request(0, PROMPT, range(1), 0), 0, choice, None, params)
    assert (found.text, found.tokens, found.logprob, found.finish) == ("x", 4, -1.875, "stop")


def test_vllm_s_words_about_stop_strings_are_understood(server, sampler):
    server.says = (
        "2 validation errors: {'type': 'string_type', 'loc': 'body.stop', 'msg': 'Input should be a valid string'} "
        "{'type': 'too_long', 'loc': 'body.stop', 'msg': 'List should have at most 4 items'}"
    )
    server.most_stops = 4
    assert len(run(sampler(concurrency=1), stop=("a", "b", "c", "d", "e"))) == 3
    assert len(server.requests[-1][1]["stop"]) == 4


def test_four_stop_strings_that_are_refused_are_a_real_refusal(server, sampler):
    server.most_stops = 1
    with pytest.raises(ModelError, match="Invalid 'stop'"):
        run(sampler(), stop=("a", "b"))
    with pytest.raises(ModelError, match="Invalid 'stop'"):
        run(sampler(), stop=("a", "b", "c", "d", "e"))


def test_samples_are_asked_for_in_portions(server, sampler):
    found = run(sampler(samples_per_request=2), n=5)
    assert [c.index for c in found] == list(range(5))
    assert sorted(body["n"] for _, body, _ in server.requests) == [1, 2, 2]


def test_completions_get_the_text_and_chats_the_opened_answer(server, sampler):
    run(sampler(concurrency=1), [PROMPT, CHAT], n=1)
    (path, body, _), (chat_path, chat, _) = server.requests
    assert (path, body["prompt"]) == ("/v1/completions", PROMPT.text)
    assert chat_path == "/v1/chat/completions"
    assert chat["messages"] == [
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": "```python\ndef f():\n"},
    ]
    run(sampler(api="completions"), [CHAT], n=1)
    assert server.requests[-1][1]["prompt"] == CHAT.text


def test_an_answer_that_begins_anew_is_cut_to_what_continues_the_prompt(server, sampler):
    server.echo = True
    (found,) = run(sampler(prefill=False), [CHAT], n=1, stop=("\n```",))
    _, body, _ = server.requests[-1]
    assert "stop" not in body
    assert body["messages"] == [{"role": "user", "content": "add"}]
    assert not found.text.startswith(("Sure", "```", "def f"))
    assert "This adds" not in found.text
    assert found.finish == "stop"


def test_key_and_more_fields_are_sent(server, sampler, monkeypatch):
    monkeypatch.setenv("MY_KEY", "abc")
    run(sampler(api_key_env="MY_KEY", extra_body={"top_k": 5}), n=1)
    _, body, authorization = server.requests[0]
    assert (body["top_k"], authorization) == (5, "Bearer abc")


def test_options_are_checked(sampler):
    with pytest.raises(ConfigError, match="api = 'chats'"):
        sampler(api="chats")
    with pytest.raises(ConfigError, match="at least 1"):
        sampler(concurrency=0)
