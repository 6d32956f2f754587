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
