"""A real server process on loopback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from serve_samples import KEYS

import ilf


class Served:
    """`ilf serve verifier` in a process of its own."""

    def __init__(self, *options):
        environment = {**os.environ, "PYTHONPATH": str(Path(ilf.__file__).parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ilf.cli", "serve", "verifier", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+?:\d+", line)
        assert found, line + self.process.stderr.read()
        self.url = found[0]
        self.said = None

    def stop(self, number=signal.SIGTERM, group=False):
        """Its exit status; what it said afterwards is in `said`."""
        if self.said is None:
            if group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
            _, self.said = self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture(scope="session")
def web():
    """Skips where the extra `serve` is not installed."""
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")


@pytest.fixture(scope="module")
def serve(web):
    servers = []

    def start(*options):
        servers.append(Served(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def open_server(serve):
    return serve("--tasks", "starter")


@pytest.fixture(scope="module")
def keyed(serve, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    path.write_text("# who asks\n" + "\n".join(f"{name} {key}" for name, key in KEYS.items()) + "\n")
    return serve(
        "--keys-file", str(path), "--max-body-mb", "0.25", "--max-programs", "300", "--workers", "2",
        "--queue", "600", "--client-queue", "400",
    )  # fmt: skip
