"""A tiny random Llama with a word-level tokenizer, written once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilf.records import Example

WORDS = "def return if else for in not and or lambda a b c x y z 0 1 2 3 + - * / ( ) [ ] : , = == < > len sum".split()


def build(folder: Path, **settings: Any) -> Path:
    """Write a random model folder; `settings` override the Llama config's."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<end>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The end token is the padding token too: the case where careless label masks lose it.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", pad_token="<end>", unk_token="<unk>"
    )
    config = LlamaConfig(
        **{
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "eos_token_id": 0,
            "pad_token_id": 0,
            "bos_token_id": None,
            "tie_word_embeddings": True,
            "initializer_range": 0.3,
            **settings,
        }
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def built() -> Callable[..., Path]:
    """`build`, for models of other kinds."""
    return build


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model with the same tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = build(tmp_path_factory.mktemp("models") / "teacher", num_hidden_layers=2)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def some() -> Callable[[int], list[Example]]:
    """Examples of unlike lengths and weights; every third shares its prompt with the one before."""
    import random

    def make(count: int, seed: int = 0) -> list[Example]:
        rng = random.Random(seed)
        examples: list[Example] = []
        for i in range(count):
            prompt = " ".join(rng.choices(WORDS, k=rng.randint(3, 30)))
            if i % 3 == 2:
                prompt = examples[-1].prompt
            completion = " ".join(rng.choices(WORDS, k=rng.randint(1, 20)))
            examples.append(
                Example(
                    prompt=prompt,
                    completion=completion,
                    weight=rng.choice([0.5, 1.0, 2.0]),
                    task_id=f"t{i // 3}",
                )
            )
        return examples

    return make


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """Tiny models gain nothing from threads, and lose much where other tests use the cores."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
