"""Several processes train what one trains, and lose nothing where one of them dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from ilf.errors import MissingDependency, TrainingError  # noqa: E402
from ilf.learners import require_training  # noqa: E402
from ilf.records import Example, write_jsonl  # noqa: E402
from ilf.training import FinetuneConfig, finetune, group  # noqa: E402
from ilf.training.packing import Row, share  # noqa: E402
from ilf.training.run import LOG  # noqa: E402
from ilf.training.trainer import last_checkpoint  # noqa: E402
from ilf.training.workfolder import fingerprint  # noqa: E402

Make = Callable[..., list[Example]]
QUICK = FinetuneConfig(learning_rate=1e-3, batch_size=6, epochs=2, max_length=128, save_every=1)
pytestmark = pytest.mark.usefixtures("without_gpu", "no_launcher")


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def examples(some: Make) -> list[Example]:
    return some(24)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def apart(left: dict[str, Any], right: dict[str, Any]) -> float:
    """Largest relative distance of two sets of tensors."""
    assert left.keys() == right.keys()
    return max(float((left[n] - right[n]).norm() / left[n].norm().clamp(min=1e-12)) for n in left)


@pytest.mark.parametrize("batch_size", [6, 1], ids=["shared", "one is idle"])
@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradients_and_weights_are_those_of_one_process(
    tiny: Path, examples: list[Example], tmp_path: Path, method: str, sharding: str, batch_size: int
) -> None:
    config = QUICK.model_copy(
        update={"method": method, "batch_size": batch_size, "epochs": 1, "max_grad_norm": 1e9}
    )
    few = examples[: 2 * batch_size + 1]
    shared = config.model_copy(update={"processes": 2, "sharding": sharding})
    results = {}
    for name, asked in {"one": config, "two": shared}.items():
        results[name] = finetune(tiny, few, tmp_path / name, asked)
        assert results[name].processes == asked.processes
    one, two = (log(tmp_path / name) for name in ("one", "two"))
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in two] == pytest.approx([row[key] for row in one], rel=1e-5)
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5
    assert results["one"].tokens == results["two"].tokens


NOTED = """
import torch
from ilf.training.trainer import PackTrainer
step = PackTrainer.training_step
def noted(self, model, inputs, count=None):
    loss = step(self, model, inputs, count)
    if self.state.global_step == 0:
        found = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        found = {n: (g.full_tensor() if hasattr(g, "full_tensor") else g).clone() for n, g in found.items()}
        if self.args.process_index == 0:
            torch.save(found, FILE)
    return loss
PackTrainer.training_step = noted
"""


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_gradient_is_that_of_one_process(
    tiny: Path, examples: list[Example], tmp_path: Path, method: str, sharding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """To 1e-5 relative, weight by weight, before clipping; the batch's examples are of unlike lengths and
    weights, so a mean over processes or packs would be another gradient."""
    from ilf.training import launch
    from ilf.training.trainer import PackTrainer

    files = [tmp_path / f"{count}.pt" for count in (1, 2)]
    config = QUICK.model_copy(update={"method": method, "epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(PackTrainer, "training_step", PackTrainer.training_step)  # to be put back
        exec(NOTED.replace("FILE", repr(str(files[0]))), {})
        finetune(tiny, examples, tmp_path / "one", config)
    popen, code = subprocess.Popen, NOTED.replace("FILE", repr(str(files[1])))
    code += "from ilf.training import worker\nworker.main()"
    monkeypatch.setattr(
        launch.subprocess,
        "Popen",
        lambda command, **rest: popen([command[0], "-c", code, *command[3:]], **rest),
    )
    shared = config.model_copy(update={"processes": 2, "sharding": sharding})
    finetune(tiny, examples, tmp_path / "two", shared)
    one, two = map(torch.load, files)
    assert len(one) > 10 and apart(one, two) < 1e-5


FORCED = """
from ilf.training import loss
loss.choose_way = lambda *_: loss.WAYS[WAY]
from ilf.training import worker
worker.main()
"""


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize(
    ("way", "tied", "method"), [(1, False, "full"), (2, True, "full"), (2, False, "lora")]
)
def test_models_of_every_kind(
    built: Callable[..., Path], examples: list[Example], tmp_path: Path, way: int, tied: bool, method: str, sharding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Padded rows, the model's own output layer, weights of its own for that, recomputed activations."""
    from ilf.training import launch, loss

    start = built(tmp_path / "start", tie_word_embeddings=tied)
    config = QUICK.model_copy(update={"method": method, "epochs": 1, "gradient_checkpointing": True})
    with monkeypatch.context() as patch:
        patch.setattr(loss, "choose_way", lambda *_: loss.WAYS[way])
        one = finetune(start, examples, tmp_path / "one", config)
    popen = subprocess.Popen
    code = FORCED.replace("WAY]", f"{way}]")
    monkeypatch.setattr(
        launch.subprocess,
        "Popen",
        lambda command, **rest: popen([command[0], "-c", code, *command[3:]], **rest),
    )
    shared = config.model_copy(update={"processes": 2, "sharding": sharding})
    two = finetune(start, examples, tmp_path / "two", shared)
    assert two.engine == one.engine == loss.WAYS[way].name
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_other_objectives_are_shared_too(
    tiny: Path, teacher: Path, examples: list[Example], tmp_path: Path, sharding: str
) -> None:
    from ilf.training.objective import Anchored

    objective = Anchored(teacher, "hash", beta=0.5)
    finetune(tiny, examples, tmp_path / "one", QUICK, objective=objective)
    shared = QUICK.model_copy(update={"processes": 2, "sharding": sharding})
    finetune(tiny, examples, tmp_path / "two", shared, objective=objective)
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5


KILLED = """
import os, signal
from ilf.training import trainer, worker
import sys
step = trainer.PackTrainer.training_step
def killed(self, model, inputs, count=None):
    if self.state.global_step == 4 and self.args.process_index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, model, inputs, count)
trainer.PackTrainer.training_step = killed
worker.main()
"""


@pytest.mark.parametrize(
    ("method", "sharding", "then"),
    [("full", "none", 1), ("lora", "none", 3), ("full", "full", 3), ("lora", "full", 1)],
)
def test_a_killed_process_is_one_line_and_another_number_goes_on(
    tiny: Path, examples: list[Example], tmp_path: Path, method: str, sharding: str, then: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from ilf.training import launch

    config = QUICK.model_copy(update={"method": method, "sharding": sharding})
    finetune(tiny, examples, tmp_path / "whole", config.model_copy(update={"sharding": "none"}))
    popen, out = subprocess.Popen, tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr(
            launch.subprocess,
            "Popen",
            lambda command, **rest: popen([command[0], "-c", KILLED, *command[3:]], **rest),
        )
        with pytest.raises(TrainingError) as stopped:
            finetune(tiny, examples, out, config.model_copy(update={"processes": 2}))
    assert "process 2 of 2 was killed by signal 9" in str(stopped.value)
    assert "run again to go on after step 4" in str(stopped.value) and "\n" not in str(stopped.value)
    assert not out.exists()
    kept = last_checkpoint(tmp_path / ".model.partial" / "checkpoints")
    assert kept is not None and kept.name == "checkpoint-4"
    shards = {path.name for path in kept.glob("optimizer_0/*.distcp")}
    assert shards == ({"__0_0.distcp", "__1_0.distcp"} if sharding == "full" else set())
    seen: list[float] = []
    finetune(
        tiny,
        examples,
        out,
        config.model_copy(update={"processes": then}),
        progress=lambda row: seen.append(row["step"]),
    )
    assert seen == [5, 6, 7, 8]  # steps before the checkpoint are not repeated
    assert [row["step"] for row in log(out)] == list(range(1, 9))
    assert apart(weights(tmp_path / "whole"), weights(out)) < 1e-5
    assert not (tmp_path / ".model.partial").exists()
    from transformers import AutoModelForCausalLM

    _, loading = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]


def test_ctrl_c_keeps_the_step_in_progress(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    out, config = tmp_path / "model", QUICK.model_copy(update={"processes": 2, "save_every": 100})

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    many = [example for _ in range(10) for example in examples]
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny, many, out, config, progress=interrupt)
    kept = last_checkpoint(tmp_path / ".model.partial" / "checkpoints")
    assert kept is not None and int(kept.name.rpartition("-")[2]) > 2


def test_a_users_mistake_is_the_line_of_one_process(
    tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    config = QUICK.model_copy(update={"learning_rate": 1e30, "processes": 2})
    with pytest.raises(TrainingError, match="^the loss of step 3 is (nan|inf): lower learning_rate") as error:
        finetune(tiny, examples, tmp_path / "m", config)
    assert "\n" not in str(error.value)
    assert last_checkpoint(tmp_path / ".m.partial" / "checkpoints") is not None


@pytest.mark.parametrize("code", [0, 2])
def test_torchrun_is_recognised(tiny: Path, examples: list[Example], tmp_path: Path, code: int) -> None:
    """One command in both processes: the first one runs it, the other one helps."""
    finetune(tiny, examples, tmp_path / "one", QUICK)
    write_jsonl(tmp_path / "examples.jsonl", examples)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "ilf.cli", "finetune", "--model", str(tiny), "--out", str(tmp_path / "two")]
    command += ["--examples", str(tmp_path / ("examples.jsonl" if code == 0 else "absent.jsonl"))]
    command += [f"--set={key}={value}" for key, value in QUICK.model_dump(exclude_defaults=True).items()]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    if code:
        assert ran.returncode != 0 and ran.stderr.count("absent.jsonl: no such file") == 1
        return
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("The first example") + ran.stderr.count("The first example") == 1
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5
    assert json.loads((tmp_path / "two" / "training.json").read_text())["result"]["processes"] == 2


API = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from ilf.records import Example, read_jsonl
from ilf.training import FinetuneConfig, finetune
tiny, examples, out, config = sys.argv[1:]
for name in ("a", "b"):
    result = finetune(tiny, read_jsonl(Path(examples), Example), Path(out) / name, FinetuneConfig.model_validate_json(config))
    Path(out, f"{name}-{torch.distributed.get_rank()}").write_text(result.model)
"""


def test_a_script_under_torchrun_has_the_result_in_every_process(
    tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(API)
    write_jsonl(tmp_path / "examples.jsonl", examples)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += [str(tmp_path / "script.py"), str(tiny), str(tmp_path / "examples.jsonl"), str(tmp_path)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    config = QUICK.model_copy(update={"epochs": 1, "sharding": "full"})
    ran = subprocess.run(
        [*command, config.model_dump_json()], capture_output=True, text=True, env=environment, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    told = {(tmp_path / f"{name}-{rank}").read_text() for name in "ab" for rank in (0, 1)}
    assert len(told) == 1  # the same training twice, the same weights


def test_slurms_steps_are_recognised_and_its_batch_scripts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert group.given() is None
    for name, value in {"PROCID": "0", "NTASKS": "8", "JOB_ID": "41123", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert group.given() is None  # a batch script, which one process runs
    step = {"PROCID": "5", "LOCALID": "1", "STEP_NUM_TASKS": "8", "STEP_TASKS_PER_NODE": "4(x2)"}
    for name, value in {**step, "STEP_NODELIST": "gpu[03-04]"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    assert group.given() == group.Group(rank=5, size=8, local_rank=1, local_size=4)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu03", "21123")


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("a", "a"), ("a,b", "a"), ("gpu[03-07,9],cpu1", "gpu03"), ("n[1,3]-ib", "n1-ib"), ("x-[7]", "x-7")],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert group._first_host(hosts) == first


def test_another_number_than_the_launchers_is_refused() -> None:
    four = group.Group(0, 4, 0, 4)
    assert four.checked(QUICK).processes == 4
    with pytest.raises(TrainingError, match="processes = 2, but 4 were started"):
        four.checked(QUICK.model_copy(update={"processes": 2}))


def test_the_key_is_that_of_one_process(examples: list[Example]) -> None:
    def key(**settings: Any) -> str:
        return fingerprint("parent", examples, QUICK.model_copy(update=settings), {})

    assert key() == key(processes=8) == key(processes=8, sharding="full")
    assert key(method="lora") == key(method="lora", processes=2) != key()
    dropping = {"method": "lora", "lora_dropout": 0.1}  # which weights are dropped, the processes decide
    assert key(**dropping) != key(**dropping, processes=2)
    assert "processes" not in QUICK.deciding() and "sharding" not in QUICK.deciding()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), min_size=1, max_size=60), st.integers(1, 9))
def test_tokens_are_shared_out_evenly(sizes: list[tuple[int, int]], count: int) -> None:
    prompts = [(prompt,) * (3 + 7 * prompt) for prompt in range(6)]
    rows = [Row(prompts[which], (1,) * size, index=i) for i, (which, size) in enumerate(sizes)]
    found = share(rows, count)
    assert len(found) == count
    assert sorted(row.index for part in found for row in part) == list(range(len(rows)))

    def tokens(part: list[Row]) -> int:
        return sum(map(len, {row.prompt for row in part})) + sum(len(row.completion) for row in part)

    total, longest = tokens(rows), max(row.length for row in rows)
    # Longest first, and no piece is longer than a process's part with a prompt and an example on top.
    assert max(map(tokens, found)) <= 2 * (total / count + max(map(len, prompts)) + longest)
    assert sum(map(tokens, found)) <= total + count * sum(map(len, {row.prompt for row in rows}))


def test_many_answers_to_one_prompt_are_everybodys() -> None:
    rows = [Row((1,) * 50, (2,) * 30, index=i) for i in range(32)]
    assert [len(part) for part in share(rows, 4)] == [8] * 4
    two = [Row((which,) * 50, (2,) * 30, index=i) for i, which in enumerate((1, 2) * 8)]
    assert all(len({row.prompt for row in part}) == 1 for part in share(two, 2))  # each computed once


# --- QLoRA -----------------------------------------------------------------------------------------


def test_qlora_needs_its_library_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from ilf.config import EngineConfig

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "bitsandbytes" else find(name)
    )
    with pytest.raises(MissingDependency, match="pip install 'ilf.qlora.'"):
        require_training([FinetuneConfig(method="qlora")], EngineConfig(name="torch"))


def test_four_bits_are_not_shared_out() -> None:
    with pytest.raises(ValueError, match='set sharding = "none"'):
        FinetuneConfig(method="qlora", sharding="full")


@pytest.mark.parametrize("count", [1, 2])
def test_qlora_trains_factors_on_four_bits(
    tiny: Path, examples: list[Example], tmp_path: Path, count: int
) -> None:
    pytest.importorskip("bitsandbytes")
    config = QUICK.model_copy(update={"method": "qlora", "processes": count, "learning_rate": 1e-2})
    result = finetune(tiny, examples, tmp_path / "q", config)
    rows = log(tmp_path / "q")
    assert sum(row["loss"] for row in rows[4:]) < sum(row["loss"] for row in rows[:4])
    before, after = weights(tiny), weights(tmp_path / "q")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "proj" in name}  # what 4 bits lost is not written
    lora = finetune(
        tiny, examples, tmp_path / "l", config.model_copy(update={"method": "lora", "processes": 1})
    )
    assert result.first_loss == pytest.approx(lora.first_loss, rel=0.1)
    assert result.first_loss != pytest.approx(lora.first_loss, rel=1e-4)  # four bits were computed with


def test_four_bit_weights_take_what_is_estimated(built: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from ilf.training.preflight import estimate_rows
    from ilf.training.weights import in_four_bits

    large = built(tmp_path / "large", hidden_size=256, intermediate_size=512)
    needs = estimate_rows(large, 50, FinetuneConfig(method="qlora", lora_rank=1), tmp_path / "out")
    model = in_four_bits(large, needs.plan)
    held = 0
    for weight in model.parameters():
        if hasattr(weight, "quant_state"):
            state = weight.quant_state
            held += weight.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
    assert needs.memory["4-bit weights"] == pytest.approx(held, rel=0.01)
    plain = estimate_rows(large, 50, FinetuneConfig(method="lora", lora_rank=1), tmp_path / "out")
    assert sum(needs.memory.values()) < sum(plain.memory.values())
