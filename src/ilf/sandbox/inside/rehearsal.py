"""A harmless program that does what most programs do, for the fork server to run before the first one."""

from __future__ import annotations

import marshal
from typing import no_type_check


@no_type_check
def _rehearsal():
    global f, g, math
    import math

    def f(xs, k=1):
        seen, out = {}, []
        for i, x in enumerate(xs):
            if x not in seen and len(out) < 10:
                seen[x] = i
                out.append(str(x).strip())
        return [tuple(sorted(out)), max(k, 2) + sum(range(3)), " ".join(out), set(), {1: 2.0}, None, True]

    def g(x):
        while x > 1:
            x = x // 2 if x % 2 == 0 else 3 * x + 1
        return int(x)


# A function's code, not text: what is left of compiling in the server's memory, every fork would copy.
REHEARSAL = marshal.dumps(
    (
        _rehearsal.__code__, None, None,
        [["f", [[3, 1, 3]], {}], ["g", [6], {}], ["f", [["a", "b"], 2], {}]],
    )
)  # fmt: skip
