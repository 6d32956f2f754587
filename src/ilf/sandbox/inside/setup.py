"""First process of a jail: does what bubblewrap cannot, locks the door, and becomes the server or judge.

It mounts `/tmp` with bounded bytes and files, opens the stores for answers and printed text and a view of
`/proc` that only the server holds, gives up capabilities, installs the seccomp filter, and then replaces
itself (`exec`), so that nothing it needed (ctypes above all) stays in memory that is forked per program.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from typing import Any

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 2, 4, 8, 1024
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 4, 22, 24, 47
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
CAPABILITIES = {"DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21}

libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _prctl(option: int, *args: Any) -> None:
    padded = [*args, 0, 0, 0, 0][:4]
    _check(libc.prctl(option, *(a if not isinstance(a, int) else ctypes.c_ulong(a) for a in padded)), "prctl")


def mount_tmpfs(path: str, size: int, inodes: int, mode: str) -> None:
    """Mount a tmpfs of at most `size` bytes and `inodes` files."""
    options = f"size={size},nr_inodes={inodes},mode={mode}".encode()
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOATIME)
    _check(libc.mount(b"tmpfs", path.encode(), b"tmpfs", flags, options), f"mount {path}")


def _hidden(path: str) -> int:
    """Open the folder mounted at `path` and take it out of sight; the descriptor keeps it alive."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    _check(libc.umount2(path.encode(), MNT_DETACH), f"umount {path}")
    os.set_inheritable(descriptor, True)
    return descriptor


def _drop_capabilities(keep: list[str]) -> None:
    kept = {CAPABILITIES[name] for name in keep}
    libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0)
    for capability in range(64):
        if capability not in kept and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # past the last one this kernel has, or without the right to: then there is none to drop
    mask = sum(1 << capability for capability in kept)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    _check(libc.capset(header, data), "capset")


def _install_seccomp(program: bytes) -> None:
    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_SECCOMP, 2, ctypes.byref(Filter(len(program) // 8, program)))


def main() -> None:
    """Read the settings (JSON, first argument), lock the jail, become what they name."""
    settings = json.loads(sys.argv[1])
    # It has the number that it had in the parent, which is high where many files are open there: the lowest
    # free one instead, so that all descriptors lie in the range that programs' processes close.
    low = os.dup(settings["judge"])
    os.close(settings["judge"])
    os.set_inheritable(low, True)
    settings["judge"] = low
    if settings["isolated"]:
        uid = settings["uid"]
        mount_tmpfs("/tmp", settings["tmp_bytes"], settings["tmp_inodes"], "700")
        if settings["role"] == "server":
            for name, size in (("answers", settings["answer_bytes"]), ("output", settings["output_bytes"])):
                mount_tmpfs("/run", size, 64, "755")
                settings[name] = _hidden("/run")
            settings["proc"] = -1
            try:
                flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOEXEC)
                _check(libc.mount(b"proc", b"/run", b"proc", flags, None), "mount proc")
                settings["proc"] = _hidden("/run")
            except OSError:
                pass  # some containers forbid it; limits then go by process, not by tree
            if uid is not None:
                os.chown("/tmp", uid, uid)
                os.setgroups([])
        os.chdir("/tmp")
    else:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        settings["proc"] = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(settings["proc"], True)
        os.chdir(settings["tmp"])
    for name, value in settings["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
    if settings["isolated"]:
        _drop_capabilities(settings["keep"])
        _install_seccomp(bytes.fromhex(settings.pop("seccomp")))
    os.execv(
        sys.executable, [sys.executable, *settings["flags"], "-c", settings["main"], json.dumps(settings)]
    )
