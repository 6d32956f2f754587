"""Requests to the verifier, and what comes back."""

import json

KEYS = {"one": "one-secret-key-0001", "two": "two-secret-key-0002"}
TASK = {"task_id": "t", "description": "", "entry_point": "f", "tests": ["assert f(1) == 2"]}
RIGHT = "def f(x):\n    return x + 1\n"
SLOW = "import time\ndef f(x):\n    time.sleep(1.5)\n    return x + 1\n"


def ask(*codes, **rest):
    return {"tasks": [TASK], "programs": [{"task_id": "t", "code": code} for code in codes], **rest}


def rows_of(response):
    assert response.status_code == 200, response.text
    rows = [json.loads(line) for line in response.text.splitlines()]
    assert rows[-1] == {"done": len(rows) - 1, "errors": sum("status" not in row for row in rows[:-1])}
    return sorted(rows[:-1], key=lambda row: row["index"])


def bearer(name):
    return {"Authorization": f"Bearer {KEYS[name]}"}
