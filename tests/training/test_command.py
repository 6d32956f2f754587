from pathlib import Path

import pytest

from ilf.errors import ConfigError, DataError, UserError
from ilf.records import Example, write_jsonl
from ilf.training.command import finetune


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.jsonl"
    write_jsonl(path, [Example(prompt="def a", completion=f"return {i}", task_id="1") for i in range(4)])
    return path


def test_settings_come_from_a_file_and_from_overrides(
    tiny: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "run.toml"
    settings.write_text("[finetune]\nbatch_size = 2\nepochs = 3\n")
    result = finetune(str(tiny), examples, tmp_path / "out", config=settings, overrides=["epochs=1"])
    assert result.steps == 2
    assert (tmp_path / "out" / "config.json").is_file()
    err = capsys.readouterr().err
    assert "4 of 4 examples" in err and "def a⟦return 0 <end>⟧" in err
    assert "2 steps, loss" in err


def test_a_bare_file_of_settings_will_do(tiny: Path, examples: Path, tmp_path: Path) -> None:
    settings = tmp_path / "finetune.toml"
    settings.write_text("batch_size = 4\nepochs = 1\n")
    assert finetune(str(tiny), examples, tmp_path / "out", config=settings).steps == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learning_rat=1"], "learning_rat: unknown key; did you mean learning_rate"),
        (["batch_size=0"], "batch_size: .*greater than or equal to 1"),
        (["method=partial"], "method: .*'full', 'lora' or 'qlora'"),
        (["epochs"], "expected key=value"),
    ],
)
def test_wrong_settings_name_the_key(
    tiny: Path, examples: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        finetune(str(tiny), examples, tmp_path / "out", overrides=overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a"\n', "line 2: not JSON"),
        ('{"prompt": "a"}\n', "line 1: completion: Field required"),
        ('{"prompt": "a", "completion": "b", "weight": -1}\n', "line 1: weight"),
        ("", "no examples to train on"),
    ],
)
def test_wrong_examples_name_the_line(tiny: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        finetune(str(tiny), path, tmp_path / "out")


def test_missing_files(tiny: Path, examples: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        finetune(str(tiny), tmp_path / "nothing.jsonl", tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        finetune(str(tmp_path / "nothing"), examples, tmp_path / "out")
