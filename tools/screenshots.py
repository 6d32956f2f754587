"""Pictures of a report: light, dark, and its first printed page.

    python tools/screenshots.py runs/starter/report.html docs/screenshots/report

writes docs/screenshots/report-light.png, -dark.png and -print.png. Needs Chromium and poppler-utils.
With a third argument, `task-ID`, also NAME-item.png: that task opened in the explorer.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = (1280, 1600)
TALL = 12_000
"""Height of the window in which an explorer's item is looked for: a headless window does not scroll."""


def chromium(*arguments: str) -> None:
    """Run a headless Chromium; it has seconds of its own clock for the page's scripts."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        sys.exit("screenshots.py: Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        fixed = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ]
        command = [
            binary,
            *fixed,
            "--hide-scrollbars",
            "--virtual-time-budget=10000",
            f"--user-data-dir={profile}",
        ]
        subprocess.run([*command, *arguments], check=True, capture_output=True)


def main(report: Path, name: Path, item: str | None = None) -> None:
    """Take the pictures."""
    address = report.resolve().as_uri()
    name = name.resolve()  # Chromium writes relative paths somewhere else
    name.parent.mkdir(parents=True, exist_ok=True)
    window = f"--window-size={SIZE[0]},{SIZE[1]}"
    for theme, number in (("dark", 0), ("light", 1)):
        scheme = f"--blink-settings=preferredColorScheme={number}"
        chromium(window, scheme, f"--screenshot={name}-{theme}.png", address)
    with tempfile.TemporaryDirectory() as folder:
        chromium("--no-pdf-header-footer", f"--print-to-pdf={folder}/page.pdf", address)
        page = ["-f", "1", "-l", "1", "-r", "90", "-png", "-singlefile"]
        subprocess.run(["pdftoppm", *page, f"{folder}/page.pdf", f"{name}-print"], check=True)
    if item is not None:
        chromium(f"--window-size={SIZE[0]},{TALL}", f"--screenshot={name}-item.png", f"{address}#{item}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python tools/screenshots.py REPORT.html NAME [task-ID]")
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
