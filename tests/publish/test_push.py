"""`ilf push`: what a run made, in the hub's layout, with nothing lost and nobody named unasked."""

import json
import shutil
from pathlib import Path

import pytest
from toy import world

from ilf import algorithm
from ilf.cli import app
from ilf.errors import DataError, MissingDependency, UserError
from ilf.formats.programs import Programs
from ilf.publish import layout, predictions
from ilf.publish.command import push
from ilf.publish.layout import build
from ilf.records import Example, Program, Rows, read_jsonl
from ilf.runfolder import RunFolder
from ilf.tasks import load_tasks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    algorithm.run(world(folder), folder / "run", summary=False)
    return folder / "run"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_examples_carry_their_lineage_and_no_names(run, tmp_path):
    made = build(run, tmp_path / "out")
    examples = read_jsonl(RunFolder(run).round(1).examples, Example)
    found = rows(made.dataset / "data" / "examples.jsonl")
    assert [row["completion"] for row in found] == [example.completion for example in examples] and found
    for row in found:
        assert row["feedback"].startswith("It returns nothing.") and row["wrong_program"].endswith(
            "return None\n"
        )
        assert row["feedback_author"] == "annotator 1" and row["refined_program"]
    named = rows(build(run, tmp_path / "named", names=True).dataset / "data" / "examples.jsonl")
    assert {row["feedback_author"] for row in named} == {"somebody"}


def test_predictions_are_read_back_as_they_were(run, tmp_path):
    made = build(run, tmp_path / "out")
    tasks = {task.task_id: task for task in load_tasks(str(run.parent / "tasks.jsonl"))}
    written = list(Rows(RunFolder(run).round(1).evaluation_programs("after"), Program))
    plus = Programs(made.dataset / "predictions" / "after-evalplus.jsonl", tasks)
    assert plus.says == "evalplus solutions"
    assert [(r["task_id"], r["code"]) for _, r in plus] == [(p.task_id, p.code) for p in written]
    logged = Programs(made.dataset / "predictions" / "after-lm-eval.jsonl", tasks)
    assert logged.says == "lm-eval's log"
    assert [(r["task_id"], r["completion"]) for _, r in logged] == [
        (p.task_id, p.completion) for p in written
    ]
    whole = [json.loads(json.dumps(row)) for row in predictions.lm_eval(written)]
    assert [code for row in whole for code in row["filtered_resps"][0]] == [p.code for p in written]


def test_the_data_set_is_one_for_the_hubs_own_library(run, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    datasets = pytest.importorskip("datasets")
    made = build(run, tmp_path / "out")
    card = hub.DatasetCard.load(made.dataset / "README.md")
    # Where things lie on this machine is nobody's business.
    assert str(run.parent) not in card.text and "tasks: tasks.jsonl" in card.text
    assert card.data.to_dict()["configs"] == [
        {"config_name": "examples", "data_files": "data/examples.jsonl"}
    ]
    loaded = datasets.load_dataset(str(made.dataset), "examples", cache_dir=str(tmp_path / "cache"))
    assert len(loaded["train"]) == made.examples


def test_a_model_with_its_card_and_its_adapter(run, tmp_path):
    model = RunFolder(run).round(1).model
    (model / "config.json").write_text("{}")
    (model / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A model\n")
    (model / "adapter").mkdir()
    (model / "adapter" / "adapter_config.json").write_text("{}")
    try:
        said = push(run, str(tmp_path / "out")).said
        assert (tmp_path / "out/model/README.md").is_file() and not (tmp_path / "out/model/adapter").exists()
        assert (tmp_path / "out/adapter/adapter_config.json").is_file()
        assert f"use it: vllm serve {tmp_path}/out/model" in said and any("unmerged" in line for line in said)
    finally:
        for name in ("config.json", "README.md", "adapter/adapter_config.json"):
            (model / name).unlink()
        (model / "adapter").rmdir()


def test_the_hub_gets_a_model_and_a_data_set_private_unless_asked(run, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    class Api:
        def create_repo(self, name, **options):
            asked.append((name, options["repo_type"], options["private"]))

        def upload_folder(self, *, repo_id, folder_path, **options):
            asked.append((repo_id, sorted(p.name for p in __import__("pathlib").Path(folder_path).iterdir())))

    monkeypatch.setattr(hub, "HfApi", Api)
    said = push(run, "hub:me/toy").said
    assert asked == [
        ("me/toy-examples", "dataset", True),
        ("me/toy-examples", ["README.md", "data", "predictions"]),
    ]
    assert said == ("dataset me/toy-examples, private: dataset", "there is no model with weights in this run")
    asked.clear()
    push(run, "hub:me/toy", public=True)
    assert asked[0] == ("me/toy-examples", "dataset", False)

    def refuse(self, name, **options):
        raise OSError("401 Unauthorized\nlog in first")

    monkeypatch.setattr(Api, "create_repo", refuse)
    with pytest.raises(UserError, match="hub:me/toy-examples: cannot be pushed: OSError: 401 Unauthorized$"):
        push(run, "hub:me/toy")


def test_mistakes_are_one_line(run, tmp_path):
    pytest.importorskip("huggingface_hub")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    for arguments, message in [
        ((run, str(tmp_path / "full")), "not an empty folder"),
        ((tmp_path, str(tmp_path / "x")), "not a run folder"),
        ((run, "hub:toy"), "hub:OWNER/NAME was expected"),
        ((run, "hub:me/t o y"), "not a name that the hub takes"),
    ]:
        with pytest.raises(DataError, match=message):
            push(*arguments)
    with pytest.raises(DataError, match="round 3 of it has examples"):
        push(run, str(tmp_path / "x"), number=3)
    assert not (tmp_path / "x").exists()


def test_the_command_prints_where_things_lie(run, tmp_path, capsys):
    app(["push", str(run), str(tmp_path / "out")], standalone_mode=False)
    assert "examples with their lineage" in capsys.readouterr().out


@pytest.fixture
def weights(run, tmp_path):
    """The run with a real small model that was fine-tuned by LoRA, its adapter kept; the model it started from."""
    pytest.importorskip("torch")
    from tinymodels import byte_tokenizer, tiny

    from ilf.training import FinetuneConfig, finetune

    tiny("llama").save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    copy = shutil.copytree(run, tmp_path / "run")
    model = RunFolder(copy).round(1).model
    shutil.rmtree(model)
    examples = [Example(prompt="def f(x):\n", completion=f"    return x + {i}\n") for i in range(4)]
    settings = FinetuneConfig(method="lora", learning_rate=1e-2, epochs=2, batch_size=2, keep_adapter=True)
    finetune(tmp_path / "base", examples, model, settings)
    return copy, tmp_path / "base"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adapter_on_its_base_is_the_model(weights, tmp_path):
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    run, base = weights
    made = push(run, str(tmp_path / "out"))
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        before = AutoModelForCausalLM.from_pretrained(base)(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(made.model)(ids).logits
        adapted = peft.AutoPeftModelForCausalLM.from_pretrained(made.adapter)(ids).logits
    assert torch.allclose(adapted, merged, atol=1e-4) and not torch.allclose(before, merged, atol=1e-2)
    line = f"use the adapter: vllm serve {base.resolve()} --enable-lora --lora-modules ilf={made.adapter}"
    assert line in made.said


def test_an_adapter_of_a_model_from_the_hub_names_it(tmp_path, monkeypatch):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (tmp_path / "snapshot").mkdir()
    settings = {"base_model_name_or_path": str(tmp_path / "snapshot"), "r": 16}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(layout.models, "at_hand", lambda model: tmp_path / "snapshot")
    assert layout._based(adapter, "owner/model") == "owner/model"
    assert json.loads((adapter / "adapter_config.json").read_text()) == {
        **settings, "base_model_name_or_path": "owner/model",
    }  # fmt: skip
    # One that was trained on an earlier round's model keeps it.
    monkeypatch.setattr(layout.models, "at_hand", lambda model: tmp_path / "another")
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    assert layout._based(adapter, "owner/model") == str(tmp_path / "snapshot")


CONVERTER = """
import argparse, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--outfile", type=pathlib.Path)
parser.add_argument("--outtype")
given = parser.parse_args()
if not (given.model / "model.safetensors").is_file():
    sys.exit("INFO: loading\\nModel Nonesuch is not supported\\n")
sys.path[:0] = [{tests!r}]
from tinymodels import write_gguf
write_gguf(given.outfile)
"""


@pytest.fixture
def llama_cpp(tmp_path, monkeypatch):
    """What stands for a clone of llama.cpp: a script that takes what its converter takes."""
    clone = tmp_path / "llama.cpp"
    clone.mkdir()
    tests = str(Path(__file__).resolve().parents[1])
    (clone / "convert_hf_to_gguf.py").write_text(CONVERTER.format(tests=tests))
    monkeypatch.setenv("LLAMA_CPP", str(clone))


def test_gguf_by_the_users_converter(weights, llama_cpp, tmp_path):
    gguf = pytest.importorskip("gguf")
    run, _ = weights
    made = push(run, str(tmp_path / "out"), gguf="q8_0")
    assert made.gguf == str(tmp_path / "out" / "gguf" / "model-q8_0.gguf")
    assert len(gguf.GGUFReader(made.gguf).tensors) > 10
    assert f"use the GGUF: llama-server -m {made.gguf}" in made.said


def test_gguf_that_cannot_be_is_one_line_and_leaves_nothing(run, weights, llama_cpp, tmp_path, monkeypatch):
    with_weights, _ = weights
    (RunFolder(with_weights).round(1).model / "model.safetensors").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"cannot convert model \(Model Nonesuch is not supported\)"):
        push(with_weights, str(tmp_path / "out"), gguf="f16")
    with pytest.raises(UserError, match="'q3' is not one of f32, f16, bf16, q8_0, auto"):
        push(with_weights, str(tmp_path / "out"), gguf="q3")
    with pytest.raises(DataError, match="no model with weights to write as GGUF"):
        push(run, str(tmp_path / "out"), gguf="f16")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    with pytest.raises(MissingDependency, match="there is no convert_hf_to_gguf.py in it"):
        push(run, str(tmp_path / "out"), gguf="f16")
    monkeypatch.delenv("LLAMA_CPP")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="git clone https://github.com/ggml-org/llama.cpp"):
        push(run, str(tmp_path / "out"), gguf="f16")
