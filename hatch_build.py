"""Build step of the wheel: take the configs in, and bundle the annotation page's scripts.

Editable installs need neither: they find `configs/` in the checkout, and `make` bundles the scripts.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs `tools/browser_setup.sh bundle` where npm is there; without it the pages have plain text areas."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before files are collected; `version` is `standard` or `editable`."""
        if version != "editable":
            build_data["force_include"]["configs"] = "ilf/configs"
        bundle = Path(self.root, "src/ilf/annotate/static/bundle/app.js")
        if version == "editable" or bundle.is_file():
            return
        if shutil.which("npm") is None:
            self.app.display_warning("npm is not installed: the wheel's annotation page has plain text areas")
            return
        subprocess.run(["bash", "tools/browser_setup.sh", "bundle"], cwd=self.root, check=True)
