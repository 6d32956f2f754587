"""Conversations as TRL (`messages`) and ShareGPT (`conversations`) write them, and programs inside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ilf.extraction import extract
from ilf.extraction.opening import opening
from ilf.records import Task

Turn = tuple[str, str]
"""(role, what is said): `system`, `user` or `assistant`."""
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"}
_FENCED = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)


def turns(said: Any) -> list[Turn] | None:
    """A list of messages in either form; None where it is none."""
    if not isinstance(said, Sequence) or isinstance(said, str) or not said:
        return None
    found = []
    for message in said:
        if not isinstance(message, Mapping):
            return None
        role = message.get("role", message.get("from"))
        text = text_of(message.get("content", message.get("value")))
        if not isinstance(role, str) or text is None:
            return None
        found.append((_ROLES.get(role, role), text))
    return found


def text_of(content: Any) -> str | None:
    """A message's text; its parts of type text, where it comes in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str)) or None
    return None


def program_in(text: str, task: Task | None) -> str:
    """The program in a text: what continues the task's prompt, or a fenced block; `""` without one."""
    if task is not None and task.kind == "function":
        return extract(text, opening(task), task.entry_point)
    blocks = _FENCED.findall(text)
    return (str(blocks[-1]) if blocks else text).strip("\n").rstrip() + "\n" if text.strip() else ""
