"""Jails: the bubblewrap command line, whether it works here, and why not."""

from __future__ import annotations

import atexit
import compileall
import contextlib
import functools
import importlib.util
import json
import marshal
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ilf.sandbox.folders import Folder, remove_left
from ilf.sandbox.inside.program import MAX_ANSWER
from ilf.sandbox.inside.server import DESCRIPTORS
from ilf.sandbox.limits import Limits
from ilf.sandbox.seccomp import seccomp_filter, supported

INSIDE = Path(__file__).parent / "inside"
BASE_MEMORY = 192 << 20
"""Address space of the warm interpreter itself, before any program (bytes, generous)."""
NUMPY_MEMORY = 1 << 30
"""More of the same where numpy is loaded: its linear algebra reserves buffers."""
JUDGE_MEMORY = 4 << 30
STACK = 8 << 20
INODES = 4096
"""Files in the private /tmp."""
FLAGS = ["-s", "-S", "-P", "-B", "-X", "utf8", "-W", "ignore"]
BINDS = ("--ro-bind", "--ro-bind-try", "--dev-bind")
Role = Literal["server", "judge"]


@dataclass(frozen=True)
class Isolation:
    """What this machine offers. `how` is the way jails are made; None where there is none."""

    available: bool
    level: Literal["bubblewrap", "none"]
    how: Literal["root", "user"] | None
    """`root`: separate user ids for server and program; `user`: a user namespace."""
    reason: str = ""
    """Why not."""
    advice: str = ""
    """What to install or enable."""

    def __str__(self) -> str:
        if self.available:
            return f"{self.level} ({'separate user ids' if self.how == 'root' else 'user namespace'})"
        return f"none: {self.reason}. {self.advice}"


def _python() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def numpy_available() -> bool:
    """Whether the environment that runs us has numpy, which programs may then use."""
    return importlib.util.find_spec("numpy") is not None


def _packages(names: tuple[str, ...]) -> list[str]:
    """Folders of installed packages, where they exist."""
    found = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin)
            found.append(str(folder.parent if folder.name == "__init__.py" else folder))
            libraries = folder.parent.parent / f"{name}.libs"
            if libraries.is_dir():
                found.append(str(libraries))
    return found


def _system_binds() -> list[str]:
    """The read-only system: /usr, the library links, and the interpreter's own folder."""
    args: list[str] = []
    for path in ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin"):
        if Path(path).is_symlink():
            args += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            args += ["--ro-bind", path, path]
    for path in filter(
        os.path.exists, ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives", "/nix/store")
    ):
        args += ["--ro-bind", path, path]
    # Not the prefix as a whole: it may be somebody's home.
    prefix = Path(_python()).parent.parent
    if not prefix.is_relative_to("/usr"):
        for path in filter(os.path.exists, (_python(), f"{prefix}/lib", f"{prefix}/lib64")):
            args += ["--ro-bind", path, path]
    for device in ("null", "zero", "full", "random", "urandom"):
        args += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    return [*args, "--symlink", "/tmp", "/dev/shm", "--symlink", "/tmp", "/var/tmp"]


def _inside_bind(path: Path, args: list[str]) -> bool:
    """Whether `path` lies in a folder that is bound as a whole."""
    bound = [Path(target) for option, target in zip(args, args[2:], strict=False) if option in BINDS]
    return any(path == folder or folder in path.parents for folder in bound)


def jail_command(role: Role, how: str, binds: list[str], settings: dict[str, Any]) -> list[str]:
    """The bubblewrap command line that starts one server or judge."""
    command = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--new-session"]
    if role == "server":
        command.append("--as-pid-1")  # the judge is not: its own timer must be able to end it
    command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if how == "user":
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-add", "CAP_SYS_ADMIN"]
    else:
        command += ["--cap-drop", "ALL"]
        for name in ("SYS_ADMIN", "SETUID", "SETGID", "KILL", "DAC_OVERRIDE", "FOWNER", "SETPCAP", "CHOWN"):
            command += ["--cap-add", f"CAP_{name}"]
    command += ["--hostname", "jail", "--clearenv"]
    for name, value in settings.pop("environment").items():
        command += ["--setenv", name, value]
    system = _system_binds()
    # bubblewrap makes missing parents for its own user only: make them first, readable.
    targets = ["/tmp/-", "/run/-", "/dev/-", "/ilf/-", "/etc/-", "/var/-"]
    targets += [
        path
        for option, path in zip([*system, *binds], [*system, *binds][2:], strict=False)
        if option in BINDS
    ]
    parents = {parent for target in targets for parent in Path(target).parents if str(parent) != "/"}
    parents -= {parent for parent in parents if _inside_bind(parent, [*system, *binds])}
    for parent in sorted(map(str, parents)):
        command += ["--perms", "0755", "--dir", parent]
    command += [*system, "--ro-bind", str(_compiled()), "/ilf/inside", *binds]
    command += ["--remount-ro", "/", "--chdir", "/"]
    code = "from inside.setup import main; main()"
    return [*command, "--", _python(), *FLAGS, "-c", code, json.dumps(settings)]


def environment(hash_seed: int) -> dict[str, str]:
    """The whole environment inside: nothing of the user's."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": "/ilf",
        "PYTHONHASHSEED": str(hash_seed),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "LD_BIND_NOW": "1",  # a symbol found in a fork would be a fault, and be looked up again in the next
    }


def start(
    role: Role,
    how: str | None,
    descriptor: socket.socket,
    limits: Limits,
    *,
    uid: int | None = None,
    hash_seed: int = 0,
    numpy: bool = False,
    folder: str = "/tmp",
) -> subprocess.Popen[bytes]:
    """Start one server or judge; it talks on `descriptor`.

    Args:
        role: `server` runs programs, `judge` runs tests.
        how: the way jails are made (`Isolation.how`); None starts it without one (`--unsafe`).
        descriptor: its end of a socket pair.
        limits: of each program.
        uid: user id that programs get, where the server may choose one.
        hash_seed: PYTHONHASHSEED inside.
        numpy: load numpy before forking.
        folder: working folder where there is no jail.
    """
    memory = limits.memory_mb << 20
    space = BASE_MEMORY + memory + (NUMPY_MEMORY if numpy else 0)
    rlimits = {"CORE": 0, "FSIZE": max(limits.file_mb << 20, MAX_ANSWER + 4096)}
    if role == "server":
        rlimits |= {
            "AS": space,
            "MEMLOCK": 65536,
            "NOFILE": max(DESCRIPTORS, limits.open_files),
            "MSGQUEUE": 0,
            "STACK": STACK,
        }
        if how is not None:
            rlimits["NPROC"] = limits.processes + (0 if how == "root" else 1)
    else:
        rlimits |= {"AS": JUDGE_MEMORY}
    site = [sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]]
    library = sysconfig.get_paths()["stdlib"]
    path = [library, f"{library}/lib-dynload"]
    binds: list[str] = []
    # Libraries get a place of their own inside: where they really are may be hidden there (under /tmp, say).
    if role == "judge":
        for number, folder_ in enumerate(dict.fromkeys(site)):
            inside = folder_ if how is None else f"/ilf/site/{number}"
            binds += ["--ro-bind", folder_, inside]
            path.append(inside)
    elif numpy:
        packages = _packages(("numpy",))
        for package in packages:
            binds += ["--ro-bind", package, f"/ilf/site/{Path(package).name}"]
        path += ["/ilf/site"] if how is not None else [str(Path(package).parent) for package in packages]
    settings: dict[str, Any] = {
        "role": role,
        "isolated": how is not None,
        "judge": descriptor.fileno(),
        "main": f"from inside.{role} import main; main()",
        "flags": FLAGS,
        "uid": uid if role == "server" else None,
        "keep": ["SETUID", "SETGID", "KILL", "DAC_OVERRIDE", "FOWNER"]
        if uid is not None and role == "server"
        else [],
        "limits": rlimits,
        "cpu_seconds": limits.cpu_seconds,
        "wall_seconds": limits.wall_seconds,
        "memory_bytes": memory,
        "open_files": limits.open_files,
        "processes": limits.processes,
        "tmp": "/tmp" if how is not None else folder,
        "tmp_bytes": limits.file_mb << 20,
        "tmp_inodes": INODES,
        "answer_bytes": MAX_ANSWER + (1 << 20),
        "output_bytes": limits.output_kb << 10,
        "path": path,
        "preimport": ["numpy"] if numpy else [],
        "seccomp": seccomp_filter().hex() if how is not None else "",
    }
    variables = environment(hash_seed)
    if how is None:
        variables["PYTHONPATH"] = str(_compiled().parent)
        code = "from inside.setup import main; main()"
        command = [_python(), *FLAGS, "-c", code, json.dumps(settings)]
    else:
        command = jail_command(role, how, binds, {**settings, "environment": variables})

    def popen() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            pass_fds=[descriptor.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=variables,
            start_new_session=True,
        )

    return _starter(os.getpid()).submit(popen).result()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill what `start` started.

    As a group: bubblewrap's own child, until it is told to go on, dies with nobody and would stay for ever.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()


@functools.cache
def _compiled() -> Path:
    """The folder `inside`, compiled once and not by every process that starts: they can write nowhere.

    Where its own place takes no compiled files, a copy in the temporary folder. The server above all must
    find them: what is left of compiling in its memory, every fork would copy.
    """
    remove_left()
    if not sys.dont_write_bytecode and compileall.compile_dir(INSIDE, quiet=2):
        return INSIDE
    folder = Folder("inside")
    atexit.register(folder.close)
    folder.path.chmod(0o755)
    copy = folder.path / INSIDE.name
    shutil.copytree(INSIDE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(copy, quiet=2)
    return copy


@functools.lru_cache(maxsize=1)
def _starter(pid: int) -> ThreadPoolExecutor:
    # --die-with-parent means the *thread* that started the jail: this one lives as long as the process.
    return ThreadPoolExecutor(1, "ilf-sandbox")


def _try(how: str) -> str:
    """Start a server that way and let it run one program; the reason why that failed, or ''."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = start("server", how, theirs, Limits(), uid=0x60000000 if how == "root" else None)
        try:
            ours.settimeout(30)
            code = "def f():\n import hashlib\n return 7"
            request = marshal.dumps((code, None, None, [["f", [], {}]]), 2) + b"b"
            ours.sendall(len(request).to_bytes(4, "little") + request)
            reply = ours.recv(65536)
            if b'{"v":7}' in reply:
                return ""
            end(process)
            assert process.stderr is not None
            lines = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else "the jail did not answer"
        except OSError as error:
            return str(error)
        finally:
            end(process)
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@functools.cache
def probe() -> Isolation:
    """What isolation this machine offers, found by making a jail and running a program in it."""
    if not sys.platform.startswith("linux"):
        return Isolation(
            False, "none", None, "programs can be isolated on Linux only", "Use a Linux machine or container."
        )
    if shutil.which("bwrap") is None:
        advice = "Install it: apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)."
        return Isolation(False, "none", None, "bubblewrap is not installed", advice)
    if not supported():
        return Isolation(
            False, "none", None, f"no seccomp filter for {os.uname().machine}", "Use x86_64 or aarch64."
        )
    reasons = []
    for how in ("root", "user") if os.geteuid() == 0 else ("user",):
        reason = _try(how)
        if not reason:
            return Isolation(True, "bubblewrap", how)
        reasons.append(reason)
    return Isolation(False, "none", None, f"bubblewrap cannot make a jail ({reasons[-1]})", _advice())


def _setting(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _advice() -> str:
    """What to switch on so that namespaces work."""
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "Allow user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1."
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "Allow user namespaces: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0."
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "Allow user namespaces: sudo sysctl user.max_user_namespaces=15000."
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "In a container: start it with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined (docs/docker.md)."
        )
    return "User namespaces must be allowed for this user."
