"""The untrusted code's only home: `verify(tasks, programs) → verdicts` (see docs/sandbox.md).

from ilf.sandbox import Limits, verify
for verdict in verify({task.task_id: task}, programs, limits=Limits(cpu_seconds=3)):
    print(verdict.status, verdict.detail)
"""

from ilf.errors import SandboxFailure, SandboxUnavailable
from ilf.sandbox.asynchronous import verify_async
from ilf.sandbox.isolation import Isolation, probe
from ilf.sandbox.limits import Limits
from ilf.sandbox.selfcheck import RECENT, self_check
from ilf.sandbox.verify import Evaluation, Verifier, Where, verify

__all__ = [
    "RECENT",
    "Evaluation",
    "Isolation",
    "Limits",
    "SandboxFailure",
    "SandboxUnavailable",
    "Verifier",
    "Where",
    "probe",
    "self_check",
    "verify",
    "verify_async",
]
