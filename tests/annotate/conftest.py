"""A store with three open items, and a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="the extra 'annotate' is not installed")

from annotate_pages import Site
from annotate_samples import Clock, make_failures, make_tasks

from ilf.annotate.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """Three open items."""
    opened = Store(tmp_path / "annotations.db", clock=clock)
    tasks = make_tasks(3)
    opened.fill(tasks, *make_failures(tasks))
    yield opened
    opened.close()


@pytest.fixture
def site(store: Store) -> Site:
    return Site(store)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    from annotate_server import CHROMIUM, FLAGS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as starter:
        chromium = starter.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def server(tmp_path: Path):
    """`ilf annotate` on a queue of six tasks."""
    from annotate_queue import write_queue
    from annotate_server import Server

    running = Server(tmp_path / "starter", *write_queue(tmp_path))
    yield running
    running.kill()
