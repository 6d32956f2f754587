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
