"""The untrusted code's only home: `verify(tasks, programs) → verdicts` (see docs/sandbox.md).

from ilf.sandbox import Limits, verify
for verdict in verify({task.task_id: task}, programs, limits=Limits(cpu_seconds=3)):
    print(verdict.status, verdict.detail)
"""

from ilf.errors import SandboxFailure, SandboxUnavailable
from ilf.sandbox.isolation import Isolation, probe
from ilf.sandbox.limits import Limits
from ilf.sandbox.selfcheck import RECENT, self_check
from ilf.sandbox.verify import Evaluation, Verifier, verify, verify_async

__all__ = [
    "RECENT",
    "Evaluation",
    "Isolation",
    "Limits",
    "SandboxFailure",
    "SandboxUnavailable",
    "Verifier",
    "probe",
    "self_check",
    "verify",
    "verify_async",
]
