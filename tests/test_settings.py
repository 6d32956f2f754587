"""`ilf config show` and `ilf config schema`."""

import tomllib
from pathlib import Path

import pytest

from ilf.config import build_config, dump_config, load_config
from ilf.configfile import configs_folder
from ilf.settings import ELSEWHERE, PAPER, _settings, schema, show

CONFIGS = sorted(configs_folder().glob("*.toml"))


@pytest.mark.parametrize("path", [p for p in CONFIGS if "study" not in p.name], ids=lambda path: path.stem)
def test_what_is_shown_is_the_config(path):
    config = load_config(path)
    assert build_config(tomllib.loads(show(config)), "shown") == config


def test_defaults_and_the_paper_stand_beside_the_settings():
    config = load_config(configs_folder() / "demo.toml")
    assert "n = 2  # default 30; paper, section 3: 30 samples a task" in show(config).splitlines()
    known = {path for path, _, _ in _settings(config, "")}
    assert PAPER.keys() | ELSEWHERE.keys() <= known
    # Every setting that the run folder's config names is shown.
    assert {line.split(" = ")[0] for line in dump_config(config).splitlines() if " = " in line} <= {
        line.split(" = ")[0] for line in show(config).splitlines()
    }


@pytest.mark.parametrize("kind", ["run", "study", "task"])
def test_the_schemas_that_ship_are_current(kind):
    shipped = (configs_folder() / "schema" / f"{kind}.json").read_text(encoding="utf-8")
    assert shipped == schema(kind), f"make it anew: ilf config schema {kind} > configs/schema/{kind}.json"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_that_ships_names_its_schema_and_fits_it(path):
    jsonschema = pytest.importorskip("jsonschema")
    import json

    first = path.read_text(encoding="utf-8").splitlines()[0]
    where = Path(path.parent, first.removeprefix("#:schema "))
    jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), json.loads(where.read_text()))
