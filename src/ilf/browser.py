"""Opening a page in the browser of whoever sits at this machine."""

from __future__ import annotations

import os
import sys
import webbrowser

_never = False


def never(yes: bool = True) -> None:
    """Open none from now on (`--no-browser`)."""
    global _never
    _never = yes


def here() -> bool:
    """Whether this machine has a screen: without one, Python would start a browser in the terminal."""
    if _never:
        return False
    screens = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)


def someone_there() -> bool:
    """Whether a question on the terminal can be answered."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def open_page(url: str) -> bool:
    """Open it, or do nothing; whether it was opened."""
    try:
        return here() and webbrowser.open(url)
    except webbrowser.Error:
        return False
