"""What a study's numbers come from: versions, hashes, and what they cost."""

from __future__ import annotations

from pathlib import Path

from ilf.report import parts
from ilf.runfolder import RunFolder, digest
from ilf.study import statistics
from ilf.study.results import Results


def provenance(folder: Path, results: Results) -> list[tuple[str, str]]:
    """Rows of what and how much.

    Args:
        folder: the study's.
        results: its results.
    """
    manifest = RunFolder(folder).read_manifest()
    rows = [("Study folder", folder.name), ("Seeds", ", ".join(str(s.seed) for s in results.seeds))]
    rows += parts.manifest_rows(manifest)
    manifests = [manifest]
    for shared in results.seeds:
        run = RunFolder(folder / f"seed-{shared.seed}" / "run").read_manifest()
        manifests.append(run)
        if run is not None:
            rows.append((f"Seed {shared.seed}: tasks (sha256)", run.tasks_hash or "unknown"))
        files = RunFolder(folder / f"seed-{shared.seed}" / "run").round(1)
        rows += [
            (f"Seed {shared.seed}: {path.name} (sha256)", digest(path))
            for path in (files.programs, files.feedback, files.examples)
            if path.is_file()
        ]
    rows += [(f"Tasks of {source} (sha256)", found) for source, found in results.sources.items()]
    everything = statistics.all_items(results)
    minutes = [item.seconds / 60 for item in everything if item.seconds is not None]
    spent = f", {sum(minutes):,.0f} annotator minutes" if minutes else ", not timed"
    done = [step for found in manifests if found for step in found.steps.values()]
    seconds = sum(step.seconds for step in done)
    seconds += sum(sum(found.partial_seconds.values()) for found in manifests if found)
    sampled = [step.counts for step in done if "samples" in step.counts]
    trained = [step.counts for step in done if "samples" not in step.counts]
    rows += [
        ("Wall-clock time", f"{seconds:,.0f} s ({seconds / 3600:.2f} h)"),
        ("Programs sampled", f"{sum(counts['samples'] for counts in sampled):,.0f}"),
        ("Tokens sampled", f"{sum(counts.get('tokens', 0) for counts in sampled):,.0f}"),
        ("Tokens fine-tuned on", f"{sum(counts.get('tokens', 0) for counts in trained):,.0f}"),
        ("Feedback", f"{len(everything)} items{spent}"),
    ]
    rows += parts.shared_rows(manifests)
    for result in results.arms:
        for row in result.seeds:
            rows.append((f"Weights of {result.arm.label}, seed {row.seed} (sha256)", row.model))
    return rows
