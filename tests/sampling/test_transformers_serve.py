"""Engine `openai` against a real server: `transformers serve`, on the loopback device."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytest.importorskip("openai")

from ilf import models  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, open_sampler  # noqa: E402

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def served(tiny_folder, tmp_path_factory):
    """(base_url, model folder) of a running server."""
    folder = tmp_path_factory.mktemp("served")
    models.load_model(tiny_folder("llama"), "cpu").save_pretrained(folder)
    tokenizer = models.load_tokenizer(tiny_folder("llama"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--host", "127.0.0.1"]
    log = tmp_path_factory.mktemp("log") / "server.txt"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu"],
            stdout=output,
            stderr=output,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
    try:
        for _ in range(240):
            if server.poll() is not None:
                pytest.fail(f"the server ended: {log.read_text()[-800:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        server.terminate()
        server.wait(20)


def run(sampler, prompts, **params):
    found = sampler.sample(prompts, SamplingParams(**({"n": 3, "max_tokens": 12} | params)))
    return sorted(found, key=lambda c: (c.prompt, c.index))


def test_completions(served):
    url, folder = served
    # This server samples only where the generation config it is sent says so.
    extra = {"generation_config": '{"do_sample": true, "top_k": 0}'}
    sampler = open_sampler("openai", folder, base_url=url, concurrency=1, extra_body=extra)
    prompts = [Prompt("def f(x):\n"), Prompt("x = ")]
    found = run(sampler, prompts)
    assert [(c.prompt, c.index) for c in found] == [(p, i) for p in range(2) for i in range(3)]
    assert len({c.text for c in found}) == 6
    assert all(1 <= c.tokens <= 12 and c.logprob is None for c in found)
    assert run(sampler, prompts) == found  # one request at a time: the seed decides


def test_greedy_is_what_the_engines_here_say(served):
    url, folder = served
    prompts = [Prompt("def f(x):\n"), Prompt("x = ")]
    theirs = run(open_sampler("openai", folder, base_url=url), prompts, n=1, temperature=0)
    ours = run(open_sampler("torch", folder, device="cpu"), prompts, n=1, temperature=0)
    assert [(c.text, c.finish, c.tokens) for c in theirs] == [(c.text, c.finish, c.tokens) for c in ours]


def test_chat(served):
    url, folder = served
    sampler = open_sampler("openai", folder, base_url=url, concurrency=1, prefill=False)
    (answer,) = run(sampler, [Prompt("unused", user="add", prefill="")], n=1, temperature=0)
    # The same as the rendered chat, completed.
    text = models.chat_template(Path(folder))("add")
    (completed,) = run(open_sampler("torch", folder, device="cpu"), [Prompt(text)], n=1, temperature=0)
    assert answer.text.strip() == completed.text.strip()
