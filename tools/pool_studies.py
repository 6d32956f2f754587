"""Tables from studies that differ in their seeds only, computed side by side or on several machines.

    python tools/pool_studies.py studies/house-0 studies/house-1 … --base zero-shot --base self

Arms that not every study has are pooled over the seeds that have them, and a comparison takes the seeds that
both arms have.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ilf.errors import DataError
from ilf.metrics import Comparison, Estimate
from ilf.study.results import Results, SeedResult, read_results
from ilf.study.statistics import Which, against, contrast, evaluations, rate


def pool(folders: list[Path]) -> Results:
    """The results of all folders as one study's.

    Raises:
        DataError: they are of unlike studies, or a seed is in two of them.
    """
    first, *others = (read_results(folder / "results.json") for folder in folders)
    for folder, other in zip(folders[1:], others, strict=True):
        for name in ("name", "temperature", "ks", "split", "sources"):
            if getattr(other, name) != getattr(first, name):
                raise DataError(f"{folder}: {name} is not that of {folders[0]}")
        first.seeds += other.seeds
        arms = {result.arm.name: result for result in first.arms}
        for result in other.arms:
            arms[result.arm.name].seeds += result.seeds
    seeds = [shared.seed for shared in first.seeds]
    if len(set(seeds)) != len(seeds):
        raise DataError("a seed is in two of the studies")
    return first


def _points(comparison: Comparison) -> str:
    found: Estimate = comparison.difference
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _percent(found: Estimate | None) -> str:
    if found is None:
        return ""
    return f"{100 * found.value:.1f}% [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def main() -> None:
    """Print the rates of every arm, and the differences from each base."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--base", action="append", default=[])
    args = parser.parse_args()
    results = pool(args.folders)
    everywhere: dict[str, Which] = {"test": "test", "best": "best"}
    for source in results.sources:

        def elsewhere(row: SeedResult, source: str = source) -> object:
            return row.also.get(source)

        everywhere[source] = elsewhere  # type: ignore[assignment]
    for name, which in everywhere.items():
        print(f"\n## {name}")
        for result in results.arms:
            found = evaluations(result, which)
            if found:
                rates = ", ".join(f"pass@{k} {_percent(rate(result, k, which))}" for k in results.ks)
                made = sum(row.examples for row in result.seeds) / len(result.seeds)
                at = sorted({str(row.best_temperature) for row in result.seeds})
                print(f"{result.arm.name}: seeds {sorted(found)}, {made:.0f} examples, best at {at}: {rates}")
    for base in args.base or ["zero-shot"]:
        for name, which in everywhere.items():
            print(f"\n## {name}, pass@1 over {base}")
            for result, found in against(results, base, 1, None, which):
                corrected = "" if found.p_holm is None else f", {found.p_holm:.3g} corrected"
                print(f"{result.arm.name}: {_points(found)}, p = {found.p:.3g}{corrected}")
    gold, start, ours = (results.arm(name) for name in ("gold", "zero-shot", "ilf"))
    if gold and start and ours:
        for name in ("test", "best"):
            a, b = contrast(start, ours, 1, name), contrast(start, gold, 1, name)  # type: ignore[arg-type]
            if a and b:
                print(f"\n{name}: {a.difference.value / b.difference.value:.0%} of gold's gain")


if __name__ == "__main__":
    main()
