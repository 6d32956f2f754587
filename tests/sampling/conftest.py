"""Model folders and a server for the engines' tests."""

from pathlib import Path

import pytest
from tinymodels import byte_tokenizer, tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function from an architecture's name to a saved model folder."""
    pytest.importorskip("torch")
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            tiny(kind).save_pretrained(made[kind])
            byte_tokenizer().save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture
def server():
    from server import Server

    found = Server()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture(scope="session")
def vllm_opened(tiny_folder):
    """Engine `vllm` with vLLM itself."""
    import real_vllm

    real_vllm.needed()
    sampler = real_vllm.opened(tiny_folder("llama-32"))
    yield sampler
    sampler.close()


@pytest.fixture(scope="session")
def vllm_served(tiny_folder, tmp_path_factory):
    """The address of `vllm serve`."""
    import real_vllm

    real_vllm.needed()
    with real_vllm.served(tiny_folder("llama-32"), tmp_path_factory.mktemp("vllm") / "log.txt") as url:
        yield url
