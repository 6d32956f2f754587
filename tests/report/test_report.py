"""The report of runs, of two runs, and of files alone: its numbers, its escaping, its size."""

import base64
import gzip
import json
import random
import re
import shutil
from html.parser import HTMLParser

import pytest

from ilf.errors import DataError, UserError
from ilf.metrics import Evaluation
from ilf.report import page, parts
from ilf.report.command import report
from ilf.report.content import Item, Sample


def items_of(html):
    packed = re.search(r'<script id="data"[^>]*>([^<]*)</script>', html)[1]
    return {item["task_id"]: item for item in json.loads(gzip.decompress(base64.b64decode(packed)))}


def text_of(html):
    found = []

    class Text(HTMLParser):
        hidden = 0

        def handle_starttag(self, tag, attrs):
            self.hidden += tag in ("style", "script")

        def handle_endtag(self, tag):
            self.hidden -= tag in ("style", "script")

        def handle_data(self, data):
            if not self.hidden:
                found.append(data)

    Text().feed(html)
    return re.sub(r"\s+", " ", " ".join(found))


def test_the_claim_is_the_evaluations_difference(run_folder):
    html = report([run_folder]).read_text(encoding="utf-8")
    raw = json.loads((run_folder / "round-1/8-evaluation.json").read_text())
    before, after = (Evaluation.model_validate(raw["arms"][arm]) for arm in ("before", "after"))
    difference = 100 * (after.pass_at[1].value - before.pass_at[1].value)
    assert f"{difference:+.1f} points, 95% interval" in text_of(html)
    assert "24 pieces of feedback" in html
    assert "12.5" in html or "12 s" in html


def test_it_is_one_file_without_the_network(run_folder):
    html = report([run_folder]).read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    addresses = set(re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)""", html))
    assert not addresses
    assert not re.search(r"@import|url\((?!#)", html)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_paper_is_light_whatever_the_screen_is(run_folder):
    html = report([run_folder]).read_text(encoding="utf-8")
    dark, printed = (html.split(start)[1] for start in ('[data-theme="dark"] {', "@media print {"))
    colours = set(re.findall(r"(--[\w-]+):", dark.split("}")[0]))
    rule = printed.split("}")[0]
    assert colours and colours <= set(re.findall(r"(--[\w-]+):", rule))
    assert ":root:root, :root[data-theme]" in rule  # no weaker than the dark rules, and after them


def test_hostile_text_stays_text(run_folder):
    html = report([run_folder]).read_text(encoding="utf-8")
    assert "alert(1)" not in html  # packed, and nowhere else
    items = items_of(html)
    assert "<script>alert(1)</script>" in items["refine/0"]["description"]
    assert html.count("</script>") == 2


def test_the_explorer_says_what_happened(run_folder):
    items = items_of(report([run_folder]).read_text(encoding="utf-8"))
    assert len(items) == 36
    evaluated = json.loads((run_folder / "round-1/8-evaluation.json").read_text())["arms"]
    passed = {arm: {t["task_id"]: t["passed"] for t in e["tasks"]} for arm, e in evaluated.items()}
    for task_id, before in passed["before"].items():
        after = passed["after"][task_id]
        state = "unchanged" if (before > 0) == (after > 0) else "fixed" if after else "broken"
        assert items[task_id]["state"] == state
        assert [s["passed"] for s in items[task_id]["samples"]] == [before, after]
    train = items["train/3"]
    assert train["state"] == "refined" and train["refinement"]["status"] == "passed"
    assert train["wrong"]["status"] == "failed" and train["feedback"]


def test_tables_and_figures_are_written_as_files(run_folder):
    report([run_folder])
    files = run_folder / "report-files"
    for ending in ("csv", "md", "tex"):
        assert (files / "tables" / f"result.{ending}").read_text(encoding="utf-8").strip()
    assert (files / "figures" / "result-bars.svg").read_text().startswith("<?xml")
    assert (files / "figures" / "result-bars.png").read_bytes().startswith(b"\x89PNG")
    latex = (files / "tables" / "result.tex").read_text(encoding="utf-8")
    assert r"\%" in latex and latex.count(r"\begin") == latex.count(r"\end") == 2


def test_the_same_run_gives_the_same_page(run_folder):
    first = report([run_folder]).read_text(encoding="utf-8")
    assert report([run_folder]).read_text(encoding="utf-8") == first


def test_without_matplotlib_the_tables_remain(run_folder, monkeypatch):
    monkeypatch.setattr("ilf.report.figures.available", lambda: False)
    html = report([run_folder]).read_text(encoding="utf-8")
    assert "<svg" not in html and "Pass rates." in html


@pytest.mark.parametrize(
    "missing", ["8-evaluation.json", "5-refinements.jsonl", "3-feedback.jsonl", "2-verdicts.jsonl"]
)
def test_an_unfinished_run_has_a_report(run_folder, missing):
    for path in sorted((run_folder / "round-1").glob("*.json*"), reverse=True):
        path.unlink()
        if path.name == missing:
            break
    assert "This run is not finished" in report([run_folder]).read_text(encoding="utf-8")


def test_lost_tasks_leave_a_note(run_folder):
    (run_folder / "tasks.jsonl").unlink()
    html = report([run_folder]).read_text(encoding="utf-8")
    assert "tasks could not be read" in html and "train/3" in items_of(html)


def test_two_runs(tmp_path, make_run):
    a, b = make_run(tmp_path / "a", name="a"), make_run(tmp_path / "b", name="b", after=0.9, seed=1)
    html = report([a, b], tmp_path / "ab.html").read_text(encoding="utf-8")
    assert "b against a" in html and "On the same 12 held-out tasks b differs from a in pass@1 by" in text_of(
        html
    )
    assert "sampling.n" not in text_of(html.split('id="settings"')[1].split("</section>")[0])
    c = make_run(tmp_path / "c", name="c", tasks=5)
    html = report([a, c], tmp_path / "ac.html").read_text(encoding="utf-8")
    assert "different tasks, so there is no paired test" in html


def test_a_file_of_programs_alone(tmp_path, run_folder):
    html = report([run_folder / "round-1/1-programs.jsonl"], tmp_path / "p.html").read_text(encoding="utf-8")
    assert "96 programs for 24 tasks, not verified yet" in html


def test_a_file_of_verdicts_alone(tmp_path, run_folder):
    path = tmp_path / "v.jsonl"
    statuses = ["passed", "failed", "sandbox_error"]
    rows = [{"task_id": i // 3, "code": f"x = {i}", "status": statuses[i % 3]} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    html = report([path]).read_text(encoding="utf-8")
    assert "pass@1 is 50.0%" in html and "4 samples got no verdict" in html
    assert items_of(html)["0"]["state"] == "solved sometimes"


def test_a_file_of_refinements_alone(tmp_path, run_folder):
    path = run_folder / "round-1/5-refinements.jsonl"
    html = report([path], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "pass@1 is 25.0%" in html and "12 of 12 tasks have at least one program that passes" in html
    failed = [sample for sample in items_of(html)["train/0"]["samples"] if sample["status"] == "failed"]
    assert failed and all(sample["detail"].startswith("f(2): expected 3") for sample in failed)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ('{"task_id": 1}', "line 2: code: missing"),
        ('{"task_id": 1, "code": "", "status": "fine"}', "line 2: status"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, complaint):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"task_id": 1, "code": ""}\n' + row + "\n")
    with pytest.raises(DataError, match=complaint):
        report([path])


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        report([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        report([tmp_path / "nothing"])
    with pytest.raises(UserError, match="one folder or file, or two"):
        report([tmp_path] * 3)


def test_ten_thousand_tasks_stay_under_the_limit():
    items = [
        Item(str(i), f"task {i}", "unchanged" if i % 2 else "fixed", samples=[Sample("a", hex(i**40) * 3), Sample("b", "y")])
        for i in range(10_000)
    ]  # fmt: skip
    packed, told = page.pack(items)
    assert len(packed) < page.LIMIT and not told
    limit = int(0.8 * len(packed))
    packed, told = page.pack(items, limit)
    assert len(packed) <= limit and "5,000 unchanged tasks" in told
    packed, told = page.pack(items, limit=60_000)
    assert len(packed) <= 60_000 and told


def test_the_first_seed_stays_where_all_are_too_much():
    noise = random.Random(1)
    items = [
        Item(str(i), "".join(noise.choices("0123456789abcdef", k=100)), "fixed", seed=seed)
        for seed in ("3", "5")
        for i in range(100)
    ]
    everything, told = page.pack(items)
    assert not told
    first, told = page.pack(items, len(everything) - 1)
    assert (
        first == page.pack(items[:100])[0]
        and told == "To keep this file small, the other seeds are left out."
    )


def test_a_limit_holds_where_the_first_tasks_are_the_longest():
    noise = random.Random(0)
    items = [
        Item(str(i), "".join(noise.choices("0123456789abcdef", k=4_000 if i < 20 else 10)))
        for i in range(200)
    ]
    packed, told = page.pack(items, limit=30_000)
    assert len(packed) <= 30_000 and "only the first" in told


def test_a_loss_is_called_a_loss(tmp_path, make_run):
    worse = make_run(tmp_path / "worse", before=0.9, after=0.1)
    html = report([worse]).read_text(encoding="utf-8")
    assert ", a loss." in text_of(html)


def test_about_names_the_method_in_plain_words():
    assert "πRefine" in parts.ABOUT and "tests" in parts.ABOUT


def test_several_rounds_have_a_curve_and_what_was_lost(make_run, tmp_path):
    run, second = (
        make_run(tmp_path / name, before=b, after=a) for name, b, a in (("r", 0.2, 0.6), ("s", 0.6, 0.3))
    )
    shutil.copytree(second / "round-1", run / "round-2")
    first, later = (run / f"round-{number}/8-evaluation.json" for number in (1, 2))
    # The first model of a round is the last one of the round before, here with validation tasks beside it.
    a, b = json.loads(first.read_text()), json.loads(later.read_text())
    b["arms"]["before"] = a["arms"]["after"]
    for raw, file in ((a, first), (b, later)):
        file.write_text(json.dumps(raw | {"validation": {"arms": raw["arms"], "paired": raw["paired"]}}))
    one, two, three = (
        Evaluation.model_validate(e) for e in (a["arms"]["before"], a["arms"]["after"], b["arms"]["after"])
    )
    html = report([run]).read_text(encoding="utf-8")
    table = text_of(html[html.index('id="by-round"') :])
    for e in (one, two, three):
        assert f"{100 * e.pass_at[1].value:.1f}" in table
    lost = sum(x.passed > 0 and y.passed == 0 for x, y in zip(two.tasks, three.tasks, strict=True))
    assert f"{lost} of {sum(x.passed > 0 for x in two.tasks)}" in table
    told = re.search(r'aria-label="(held-out tasks: [^"]*)"', html)[1]
    assert told.count(f"{100 * three.pass_at[1].value:.1f}%") == 2  # held out, and validation
    assert "Best on the validation tasks: round 1." in table


def test_one_round_has_no_curve(run_folder):
    assert 'id="by-round"' not in report([run_folder]).read_text(encoding="utf-8")
