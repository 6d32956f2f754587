"""Fixtures that any test may ask for."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

from ilf import output

# On a busy machine one example may take seconds: how long a test takes says nothing about the code.
hypothesis.settings.register_profile("ilf", deadline=None)
hypothesis.settings.load_profile("ilf")

REPOSITORY = Path(__file__).resolve().parents[1]

# Beside other workers (pytest-xdist) threads that wait for one another cost more than they bring.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background jobs ignore Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def results_as_text():
    """A command that a test called in this process with --json leaves nothing behind."""
    yield
    output.for_machines(False)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with MBPP and the annotations: ILF_DATA, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("ILF_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "mbpp.jsonl").is_file():
        pytest.skip(f"needs mbpp.jsonl and surge_annotations.jsonl in {folder} (or in ILF_DATA)")
    return folder


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """The CPU and, where there is one, a GPU: both compute the same."""
    torch = pytest.importorskip("torch")
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return str(request.param)


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are opened on the CPU, in float32, also where there is a GPU."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
