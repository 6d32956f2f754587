import json
import multiprocessing
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.errors import DataError, RunFolderError
from ilf.records import Example, read_jsonl
from ilf.runfolder import FORMAT, Growing, RunFolder, digest, key_of, require_disk


def rows(batch, size):
    return [Example(prompt=f"{batch}", completion=f"{i}") for i in range(size)]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    cut=st.integers(0, 2000),
    stop=st.integers(0, 6),
)
def test_a_file_cut_at_any_byte_ends_as_if_never_cut(tmp_path_factory, sizes, cut, stop):
    folder = tmp_path_factory.mktemp("grow")
    whole = folder / "whole.jsonl"
    growing = Growing(whole, "k", Example, sizes)
    for number, size in enumerate(sizes):
        growing.append(rows(number, size))
    growing.finish()

    path = folder / "cut.jsonl"
    growing = Growing(path, "k", Example, sizes)
    for number, size in list(enumerate(sizes))[:stop]:
        growing.append(rows(number, size))
    os.truncate(growing.part, min(cut, growing.part.stat().st_size))  # what a kill may leave

    again = Growing(path, "k", Example, sizes)
    assert again.rows == sum(sizes[: again.done])
    for number in range(again.done, len(sizes)):
        again.append(rows(number, sizes[number]))
    again.finish()
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["cut.jsonl", "whole.jsonl"]


def test_a_part_of_other_settings_is_thrown_away(tmp_path):
    path = tmp_path / "a.jsonl"
    Growing(path, "one", Example, [2]).append(rows(0, 2))
    assert Growing(path, "one", Example, [2]).done == 1
    assert Growing(path, "two", Example, [2]).done == 0


def test_finished_file_is_not_touched_while_a_new_one_grows(tmp_path):
    path = tmp_path / "a.jsonl"
    for key in ("one", "two"):
        growing = Growing(path, key, Example, [1])
        growing.append([Example(prompt=key, completion="")])
        if key == "one":
            growing.finish()
    assert read_jsonl(path, Example)[0].prompt == "one"


def test_a_newer_folder_and_a_broken_manifest_are_refused(tmp_path):
    folder = RunFolder(tmp_path)
    folder.manifest.write_text(json.dumps({"format": FORMAT + 1, "version": "9.9"}))
    with pytest.raises(RunFolderError, match=r"written by ilf 9\.9 .*upgrade ilf"):
        folder.read_manifest()
    folder.manifest.write_text("{")
    with pytest.raises(RunFolderError, match="not JSON"):
        folder.read_manifest()
    folder.manifest.write_text("{}")
    with pytest.raises(RunFolderError, match="version: Field required"):
        folder.read_manifest()


def test_a_folder_of_version_0_1_is_read_but_not_gone_on_in(tmp_path):
    folder = RunFolder(tmp_path)
    folder.manifest.write_text(
        '{"format": 1, "version": "0.1.0", "created": "now", "identity": {}, "environment": {}, "seed": 0,'
        ' "tasks_hash": null, "steps": {"round-1/1-programs": {"key": "k", "seconds": 1, "counts": {}}},'
        ' "partial_seconds": {}}'
    )
    found = folder.read_manifest()
    assert found.steps["round-1/1-programs"].seconds == 1
    with pytest.raises(RunFolderError, match=r"made by ilf 0\.1\.0 .format 1.: .*another folder with --out"):
        folder.refuse_older(found)


def _hold(path, ready, leave):
    with RunFolder(path).lock():
        ready.set()
        leave.wait(20)


def test_two_runs_on_one_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, leave))
    other.start()
    assert ready.wait(20)
    with pytest.raises(RunFolderError, match=f"in use by another `ilf run` .process {other.pid}"):
        with RunFolder(tmp_path).lock():
            pass
    other.kill()
    other.join()
    with RunFolder(tmp_path).lock():  # a killed owner leaves nothing behind
        pass


def test_digest_leaves_measured_seconds_out(tmp_path):
    one, two, three = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    one.write_text('{"status": "passed", "seconds":0.25, "x": 1}\n')
    two.write_text('{"status": "passed", "seconds":1e-05, "x": 1}\n')
    three.write_text('{"status": "failed", "seconds":0.25, "x": 1}\n')
    assert digest(one) == digest(two) != digest(three)


def test_keys_differ_with_every_part():
    assert key_of(a=1, b=2) == key_of(b=2, a=1) != key_of(a=1, b=3)


def test_a_full_disk_is_noticed_before_work_starts(tmp_path):
    require_disk(tmp_path / "not" / "there", 1, "a model")
    with pytest.raises(DataError, match=r"a model needs 1,000,000,000\.0 GB of disk"):
        require_disk(tmp_path, 10**18, "a model")
