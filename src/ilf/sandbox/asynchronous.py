"""`verify` for an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping

from ilf.records import Program, Task, Verdict
from ilf.sandbox.limits import Limits
from ilf.sandbox.verify import Where, verify


async def verify_async(
    tasks: Mapping[str, Task],
    programs: Iterable[Program] | AsyncIterable[Program],
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    repeat: int = 1,
    unsafe: bool = False,
    isolation: Where = "auto",
) -> AsyncIterator[Verdict]:
    """`verify` for an event loop: programs may come from an async iterator, verdicts go to one.

    Arguments, order and errors are those of `verify`.
    """
    loop = asyncio.get_running_loop()
    stopped = threading.Event()
    iterator = aiter(programs) if isinstance(programs, AsyncIterable) else None
    plain = None if isinstance(programs, AsyncIterable) else iter(programs)

    def source() -> Iterator[Program]:
        while not stopped.is_set():
            if iterator is not None:
                try:
                    yield asyncio.run_coroutine_threadsafe(_next(iterator), loop).result()
                except StopAsyncIteration:
                    return
            else:
                assert plain is not None
                yield from plain
                return

    verdicts = verify(
        tasks, source(), limits=limits, workers=workers, repeat=repeat, unsafe=unsafe, isolation=isolation
    )
    end = object()
    try:
        while True:
            verdict = await asyncio.to_thread(next, verdicts, end)
            if verdict is end:
                return
            assert isinstance(verdict, Verdict)
            yield verdict
    finally:
        stopped.set()
        await asyncio.to_thread(_close, verdicts)


async def _next(iterator: AsyncIterator[Program]) -> Program:
    return await anext(iterator)


def _close(verdicts: Iterator[Verdict]) -> None:
    close = getattr(verdicts, "close", None)
    if close is not None:
        close()
