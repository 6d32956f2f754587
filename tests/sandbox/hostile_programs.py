"""Hostile programs and the exact verdict each must get.

The task is `f(x) = x * x` with the tests of `TASK`. Every entry is (name, expected status, program). Programs that
do something forbidden and then behave are expected to *pass* only where the attempt is harmless and shows nothing.
"""

from ilf.records import Task

TASK = Task(
    task_id="square",
    description="Square a number.",
    entry_point="f",
    tests=("assert f(2) == 4", "assert f(3) == 9", "assert abs(f(1.5) - 2.25) < 1e-9"),
)
# The same function under tests that hold a conversation with the program, one message after the other.
TALK = Task(
    task_id="talk",
    description="Square a number.",
    entry_point="f",
    tests=(
        "x = 2\nassert f(x) == 4",
        "try:\n    f('a')\n    assert False\nexcept Odd:\n    pass",
        "assert list(map(f, range(3))) == [0, 1, 4]",
        "big = 300_000 * [1]\nassert f(len(big)) == 90_000_000_000 and size(big) == 300_000",
    ),
)
RIGHT = "def f(x):\n    return x * x\n"

# Squares, but only in a clean house: nothing of an earlier program may be left.
WITNESS = """
import builtins, os, sys, signal, socket
TIMES = [os.stat("/tmp").st_mtime, os.stat("/tmp").st_atime]
def f(x):
    problems = []
    if TIMES != [0, 0]: problems.append(f"times {TIMES}")
    if os.listdir("/tmp"): problems.append(f"files {os.listdir('/tmp')}")
    if os.listdir("/dev/shm"): problems.append("shared memory")
    if (os.stat("/tmp").st_mode & 0o777) != 0o700: problems.append("mode of /tmp")
    with open("/tmp/mine", "w") as file: file.write("x")
    os.remove("/tmp/mine")
    for pid in range(2, 400):
        if pid == os.getpid(): continue
        try: os.kill(pid, 0)
        except ProcessLookupError: continue
        except PermissionError: pass
        problems.append(f"process {pid}")
    s = socket.socket(socket.AF_UNIX)
    try: s.bind("\\0left-behind")
    except OSError: problems.append("socket")
    s.close()
    if builtins.len([1, 2]) != 2 or abs(-2) != 2 or sum([1, 2]) != 3: problems.append("builtins")
    if "poison" in sys.modules or hasattr(builtins, "poison"): problems.append("modules")
    if signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL: problems.append("signals")
    if os.environ.get("POISON"): problems.append("environment")
    if os.getcwd() != "/tmp": problems.append("working folder")
    if problems: raise RuntimeError("; ".join(problems))
    return x * x
"""

PASS = "def f(x):\n    return x * x\n"


def attempt(body: str) -> str:
    """A program that tries `body` when it is loaded, and says so with an exception if it worked."""
    inner = "\n".join("    " + line for line in body.strip().splitlines())
    return f"worked = True\ntry:\n{inner}\nexcept BaseException:\n    worked = False\n{PASS}    \nif worked: raise SystemError('it worked')\n"


RESOURCE = [
    ("fork bomb", "error", "import os\nwhile True:\n    os.fork()\n"),
    ("fork bomb that swallows errors", "timeout",
     "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"),
    ("fork bomb of sessions", "timeout",
     "import os\nwhile True:\n    try:\n        if os.fork() == 0: os.setsid()\n    except OSError: pass\n"),
    ("memory bomb", "memory", "x = []\nwhile True:\n    x.append(bytearray(1 << 20))\n"),
    ("one huge allocation", "memory", "x = bytearray(1 << 40)\n"),
    ("doubling list", "memory", "x = [0]\nwhile True:\n    x += x\n"),
    ("doubling text", "memory", "x = 'a'\nwhile True:\n    x += x\n"),
    ("memory in many processes", "memory",
     "import os, time\nfor _ in range(6):\n    if os.fork() == 0: break\nx = bytearray(60 << 20)\n"
     "for i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(60)\n"),
    ("memory map", "memory", "import mmap\nx = mmap.mmap(-1, 1 << 40)\n"
     "def f(x): return x * x\n".replace("mmap.mmap(-1, 1 << 40)", "bytes(1 << 38)")),
    ("anonymous map over the limit", "error", "import mmap\nm = mmap.mmap(-1, 1 << 38)\n" + PASS),
    ("disk", "error", "with open('/tmp/x', 'wb') as f:\n    while True: f.write(bytes(1 << 20))\n"),
    ("disk in many files", "error",
     "i = 0\nwhile True:\n    i += 1\n    with open(f'/tmp/{i}', 'wb') as f: f.write(bytes(1 << 19))\n"),
    ("inodes", "error", "i = 0\nwhile True:\n    i += 1\n    open(f'/tmp/{i}', 'w').close()\n"),
    ("deep folders", "error",
     "import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')\n"),
    ("folders without permissions", "passed",
     "import os\nos.makedirs('/tmp/a/b/c')\nos.chmod('/tmp/a/b', 0)\nos.chmod('/tmp/a', 0)\n" + PASS),
    ("private folder locked", "passed", "import os\nos.chmod('/tmp', 0)\n" + PASS),
    ("file descriptors", "error", "import os\nx = []\nwhile True: x.append(os.open('/dev/null', 0))\n"),
    ("pipes", "error", "import os\nwhile True: os.pipe()\n"),
    ("output flood", "timeout", "while True: print('x' * 1000)\n"),
    ("long output, then right", "passed", "print('y' * 1_000_000)\n" + PASS),
    ("output by descriptor", "error", "import os\nwhile True: os.write(1, b'x' * 4096)\n"),
    ("huge int", "timeout", "def f(x):\n    return 10 ** 10 ** 9\n"),
    ("huge int as text", "error", "def f(x):\n    return str(1 << 100_000)\n"),
    ("returns a huge int", "failed", "def f(x):\n    return 1 << 1_000_000\n"),
    ("returns a huge list", "memory", "def f(x):\n    return list(range(2_000_000))\n"),
    ("returns a long text", "failed", "def f(x):\n    return 'x' * 9_000_000\n"),
    ("returns a huge range", "failed", "def f(x):\n    return range(10 ** 18)\n"),
    ("returns deep nesting", "failed", "def f(x):\n    y = []\n    for _ in range(100_000): y = [y]\n    return y\n"),
    ("returns itself", "failed", "def f(x):\n    y = []\n    y.append(y)\n    return y\n"),
    ("regular expression that explodes", "timeout", "import re\nre.match('(a+)+$', 'a' * 64 + 'b')\n"),
    ("deep recursion", "error", "def f(x):\n    return f(x)\n"),
    ("recursion without limit", "killed",
     "x = ()\nfor _ in range(1_000_000): x = (x,)\nhash(x)\n"),
    ("sleep", "timeout", "import time\ndef f(x):\n    time.sleep(1000)\n"),
    ("waits for input", "error", "x = input()\n" + PASS),
    ("waits on a lock", "timeout", "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()\n"),
    ("uninterruptible loop", "timeout",
     "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass\n"),
    ("ignores every signal", "timeout",
     "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
     "while True: pass\n"),
    ("threads that never end", "passed",
     "import threading, time\nfor _ in range(4): threading.Thread(target=time.sleep, args=(1000,)).start()\n" + PASS),
    ("threads that spin", "timeout",
     "import threading\ndef spin():\n    while True: pass\nfor _ in range(4): threading.Thread(target=spin).start()\n"
     "def f(x):\n    while True: pass\n"),
    ("too many threads", "error",
     # Small stacks: it is the number that ends it, and not the memory, on which Python may also wait for ever.
     "import threading, time\nthreading.stack_size(1 << 16)\n"
     "for _ in range(1000): threading.Thread(target=time.sleep, args=(1000,)).start()\n" + PASS),
    ("children use the processor", "timeout",
     "import os\npids = []\nfor _ in range(4):\n    pid = os.fork()\n    if pid == 0:\n        while True: pass\n    pids.append(pid)\n"
     "os.waitpid(pids[0], 0)\n"),
    ("endless generator", "failed", "def f(x):\n    while True: yield x\n"),
    ("compiler bomb", "memory", "eval('1' + '+1' * 3_000_000)\n" + PASS),
    ("compiler bomb of finally", "memory",
     "def g():\n" + "".join(" " * i + "try: return 1\n" + " " * i + "finally:\n" for i in range(1, 19))
     + " " * 19 + "x = 1\n" + PASS),
    ("millions of answers", "error",
     "import os\nos.ftruncate(3, 0)\ntry:\n    while True: os.write(3, b'\\n' * (1 << 20))\nexcept OSError: pass\n" + PASS),
    ("a hole for an answer", "error", "import os\nos.ftruncate(3, 8 << 20)\nos.lseek(3, 0, 2)\n" + PASS),
    ("a hole for printed text", "passed", "import os\nos.ftruncate(1, 8 << 20)\n" + PASS),
    ("deep parentheses", "error", "(" * 1000 + ")" * 1000 + "\n" + PASS),
    ("resource limits raised", "error",
     "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)\n" + PASS),
]  # fmt: skip

ESCAPE = [
    ("reads /etc/passwd", "error", "open('/etc/passwd').read()\n" + PASS),
    ("reads /etc/shadow", "error", "open('/etc/shadow').read()\n" + PASS),
    ("lists home", "error", "import os\nos.listdir('/home')\n" + PASS),
    ("writes to the system", "error", "open('/usr/lib/x.py', 'w')\n" + PASS),
    ("writes to the sandbox's code", "error", "open('/ilf/inside/server.py', 'a')\n" + PASS),
    ("writes to the standard library", "error", "import os\nopen(os.__file__, 'a')\n" + PASS),
    ("writes to the root", "error", "open('/x', 'w')\n" + PASS),
    ("a device node", "error", "import os, stat\nos.mknod('/tmp/sda', stat.S_IFBLK | 0o666, os.makedev(8, 0))\n" + PASS),
    ("a symbolic link out", "error", "import os\nos.symlink('/proc/1/root/etc/shadow', '/tmp/l')\nopen('/tmp/l')\n" + PASS),
    ("internet", "error", "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)\n" + PASS),
    ("loopback", "error", "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\n" + PASS),
    ("IPv6", "error", "import socket\nsocket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n" + PASS),
    ("raw packets", "error", "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n" + PASS),
    ("netlink", "error", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)\n" + PASS),
    ("name look-up", "error", "import socket\nsocket.gethostbyname('example.com')\n" + PASS),
    ("processes in /proc", "error", "import os\nos.listdir('/proc')\n" + PASS),
    ("memory of the server", "error", "open('/proc/1/mem', 'rb')\n" + PASS),
    ("environment of the server", "error", "open('/proc/1/environ', 'rb').read()\n" + PASS),
    ("descriptors of the server", "error", "import os\nos.listdir('/proc/1/fd')\n" + PASS),
    ("mounts /proc", "error",
     "import ctypes\nr = ctypes.CDLL(None).mount(b'proc', b'/tmp', b'proc', 0, None)\nassert r == 0\n" + PASS),
    ("mounts a tmpfs", "error",
     "import ctypes\nr = ctypes.CDLL(None).mount(b'tmpfs', b'/usr', b'tmpfs', 0, None)\nassert r == 0\n" + PASS),
    ("unmounts /tmp", "error", "import ctypes\nassert ctypes.CDLL(None).umount2(b'/tmp', 2) == 0\n" + PASS),
    ("chroot", "error", "import os\nos.chroot('/tmp')\n" + PASS),
    ("new user namespace", "error", "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0\n" + PASS),
    ("clone with a namespace", "error",
     "import ctypes\nassert ctypes.CDLL(None).syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0\n" + PASS),
    ("enters a namespace", "error", "import ctypes\nassert ctypes.CDLL(None).setns(0, 0) == 0\n" + PASS),
    ("ptrace of the server", "error", "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0\n" + PASS),
    ("reads the server's memory", "error",
     "import ctypes\nassert ctypes.CDLL(None).syscall(310, 1, 0, 0, 0, 0, 0) >= 0\n" + PASS),
    ("steals the server's descriptor", "error",
     "import os, ctypes\np = os.pidfd_open(1)\nassert ctypes.CDLL(None).syscall(438, p, 3, 0) >= 0\n" + PASS),
    ("kills the server", "passed", "import os\ntry: os.kill(1, 9)\nexcept PermissionError: pass\n" + PASS),
    ("stops the server", "passed", "import os, signal\ntry: os.kill(1, signal.SIGSTOP)\nexcept PermissionError: pass\n" + PASS),
    ("interrupts the server", "passed",
     "import os\nfor n in (1, 2, 3, 10, 12, 13, 14, 15, 17, 20):\n    try: os.kill(1, n)\n    except OSError: pass\n" + PASS),
    ("kills everything", "killed", "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\nos.kill(os.getpid(), 9)\n" + PASS),
    ("kills its group", "killed", "import os\nos.killpg(0, 9)\n" + PASS),
    ("lowers the server's limits", "error",
     "import resource\nresource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))\n" + PASS),
    ("slows the server", "error", "import os\nos.setpriority(os.PRIO_PROCESS, 1, 19)\n" + PASS),
    ("pins the server", "error", "import os\nos.sched_setaffinity(1, {0})\n" + PASS),
    ("becomes root", "error", "import os\nos.setuid(0)\n" + PASS),
    ("becomes another user", "error", "import os\nos.setuid(1)\n" + PASS),
    ("setuid program", "error", "import subprocess\nsubprocess.run(['su', '-c', 'id'], check=True)\n" + PASS),
    ("regains capabilities", "error",
     "import ctypes\nh = (ctypes.c_uint32 * 2)(0x20080522, 0)\nd = (ctypes.c_uint32 * 6)(*[0xffffffff] * 6)\n"
     "assert ctypes.CDLL(None).capset(h, d) == 0\n" + PASS),
    ("eBPF", "error", "import ctypes\nassert ctypes.CDLL(None).syscall(321, 0, 0, 0) >= 0\n" + PASS),
    ("kernel keys", "error",
     "import ctypes\nassert ctypes.CDLL(None).syscall(248, b'user', b'k', b'v', 1, -4) >= 0\n" + PASS),
    ("io_uring", "error", "import ctypes\nb = ctypes.create_string_buffer(512)\nassert ctypes.CDLL(None).syscall(425, 4, b) >= 0\n" + PASS),
    ("userfaultfd", "error", "import ctypes\nassert ctypes.CDLL(None).syscall(323, 0) >= 0\n" + PASS),
    ("performance counters", "error",
     "import ctypes\nb = ctypes.create_string_buffer(128)\nassert ctypes.CDLL(None).syscall(298, b, 0, -1, -1, 0) >= 0\n" + PASS),
    ("memory files", "error", "import os\nos.memfd_create('x')\n" + PASS),
    ("System V shared memory", "error", "import ctypes\nassert ctypes.CDLL(None).shmget(1, 4096, 0o1666) >= 0\n" + PASS),
    ("message queue", "error", "import ctypes\nassert ctypes.CDLL(None).syscall(240, b'/q', 0o102, 0o600, None) >= 0\n" + PASS),
    ("extended attributes", "error", "import os\nos.setxattr('/tmp', 'user.note', b'x')\n" + PASS),
    ("a socket pair of another family", "error", "import socket\nsocket.socketpair(30, socket.SOCK_STREAM)\n" + PASS),
    ("a mark on /tmp", "error",
     "import array, fcntl, os\nd = os.open('/tmp', os.O_RDONLY)\nfcntl.ioctl(d, 0x40086602, array.array('l', [0x40]))\n" + PASS),
    ("a mark on /tmp by the newest call", "error",
     "import ctypes\nb = ctypes.create_string_buffer(24)\n"
     "assert ctypes.CDLL(None).syscall(469, -100, b'/tmp', b, 24, 0) == 0\n" + PASS),
    ("x32 system calls", "error", "import ctypes\nassert ctypes.CDLL(None).syscall(0x40000000 + 39) > 0\n" + PASS),
    ("links its answers into /tmp", "error", "import os\nos.link('/dev/fd/3', '/tmp/a')\n" + PASS),
    ("opens its answers again", "error", "import os\nos.open('.', os.O_RDONLY, dir_fd=3)\n" + PASS),
    ("raises its limits", "error",
     "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (3600, 3600))\n" + PASS),
    ("32-bit system calls", "killed",
     "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
     "a = ctypes.addressof(ctypes.c_char.from_buffer(m))\nctypes.CFUNCTYPE(ctypes.c_int)(a)()\n" + PASS),
    ("environment secrets", "passed",
     "import os\nassert not [k for k in os.environ if 'CANARY' in k or 'TOKEN' in k], os.environ\n" + PASS),
    ("reads the tests", "error",
     "import gc, sys\nfor o in gc.get_objects():\n    pass\nimport glob\nt = [p for p in glob.glob('/ilf/**', recursive=True) if 'task' in p]\n"
     "print(open(t[0]).read())\n" + PASS),
    ("the host's name", "passed", "import socket\nassert socket.gethostname() == 'jail'\n" + PASS),
    ("terminal injection", "error", "import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSTI, b'x')\n" + PASS),
    ("another interpreter", "passed",
     "import subprocess, sys\nr = subprocess.run([sys.executable, '-S', '-c', 'import os; os.kill(1, 9)'], capture_output=True)\n" + PASS),
]  # fmt: skip

EQUAL = "class A{base}:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    __lt__ = __gt__ = __le__ = __ge__ = __eq__\n    __hash__ = None\n    def __abs__(s): return s\n    def __sub__(s, o): return s\n    __rsub__ = __sub__\n    def __bool__(s): return True\n"

CHEATING = [
    ("os._exit(0) at once", "error", "import os\nos._exit(0)\n"),
    ("os._exit(0) when called", "error", "import os\ndef f(x): os._exit(0)\n"),
    ("sys.exit() at once", "error", "import sys\nsys.exit()\n"),
    ("sys.exit(0) when called", "error", "import sys\ndef f(x): sys.exit(0)\n"),
    ("raise SystemExit", "error", "raise SystemExit(0)\n"),
    ("quit()", "error", "quit()\n" + PASS),
    ("exit() when called", "error", "def f(x): exit()\n"),
    ("KeyboardInterrupt", "error", "def f(x): raise KeyboardInterrupt\n"),
    ("GeneratorExit", "error", "def f(x): raise GeneratorExit\n"),
    ("ends by a signal", "killed", "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)\n"),
    ("ends by SIGTERM", "killed", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"),
    ("abort", "killed", "import os\nos.abort()\n"),
    ("crash", "killed", "import ctypes\nctypes.string_at(0)\n"),
    ("exec of true", "error", "import os\nos.execv('/bin/true', ['true'])\n"),
    ("a thread exits for all", "error",
     "import threading, os, time\nthreading.Thread(target=os._exit, args=(0,)).start()\ntime.sleep(1)\n" + PASS),
    ("a child carries on", "error", "import os, time\nif os.fork(): os._exit(0)\ntime.sleep(60)\n" + PASS),
    ("a child answers twice", "failed", "import os\ndef f(x):\n    os.fork()\n    return 5\n"),
    ("atexit", "failed", "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0\n"),
    ("equal to everything", "failed", EQUAL.format(base="") + "def f(x): return A()\n"),
    ("equal int", "failed", EQUAL.format(base="(int)") + "def f(x): return A(5)\n"),
    ("equal float", "failed", EQUAL.format(base="(float)") + "def f(x): return A(5)\n"),
    ("equal str", "failed", EQUAL.format(base="(str)") + "def f(x): return A('5')\n"),
    ("equal list", "failed", EQUAL.format(base="(list)") + "def f(x): return A([5])\n"),
    ("equal dict", "failed", EQUAL.format(base="(dict)") + "def f(x): return A()\n"),
    ("equal tuple", "failed", EQUAL.format(base="(tuple)") + "def f(x): return A()\n"),
    ("equal complex", "failed", EQUAL.format(base="(complex)") + "def f(x): return A(5)\n"),
    ("equal named tuple", "failed",
     "from collections import namedtuple\n" + EQUAL.format(base="(namedtuple('N', 'a b'))") + "def f(x): return A(1, 2)\n"),
    ("equal Decimal", "failed", "from decimal import Decimal\n" + EQUAL.format(base="(Decimal)") + "def f(x): return A(5)\n"),
    ("equal inside a list", "failed", EQUAL.format(base="") + "def f(x): return [A()]\n"),
    ("equal class", "failed", "class M(type):\n    __eq__ = lambda s, o: True\n    __hash__ = type.__hash__\nclass A(metaclass=M): pass\ndef f(x): return A\n"),
    ("the entry point is a class", "failed", EQUAL.format(base="") + "class f(A):\n    def __init__(s, x): pass\n"),
    ("mock", "failed", "from unittest.mock import MagicMock, ANY\nf = lambda x: ANY\n"),
    ("a lying class", "failed", "class A:\n    __class__ = int\n    __eq__ = lambda s, o: True\ndef f(x): return A()\n"),
    ("a lying __getattribute__", "failed",
     "class A:\n    def __getattribute__(s, n): return lambda *a: True\n    def __eq__(s, o): return True\ndef f(x): return A()\n"),
    ("NotImplemented", "failed", "def f(x): return NotImplemented\n"),
    ("not a number", "failed", "def f(x): return float('nan')\n"),
    ("True for everything", "failed", "def f(x): return True\n"),
    ("patched builtins", "failed",
     "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0\ndef f(x): return 0\n"),
    ("patched assertion error", "failed",
     "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\ndef f(x): return 0\n"),
    ("removed builtins", "error", "import builtins\nfor n in list(vars(builtins)):\n    if n[0] != '_': delattr(builtins, n)\ndef f(x): return 0\n"),
    ("patched json", "failed",
     "import json, sys\nfor m in list(sys.modules.values()):\n    for n in ('dumps', '_dumps'):\n        if hasattr(m, n):\n            setattr(m, n, lambda *a, **k: b'{\"v\":true}')\ndef f(x): return 0\n"),
    ("patched sys.modules", "failed",
     "import sys\nsys.modules.clear()\ndef f(x): return 0\n"),
    ("import hook", "failed",
     "import sys\nclass H:\n    def find_spec(s, n, p=None, t=None): raise SystemExit(0)\nsys.meta_path.insert(0, H())\ndef f(x): return 0\n"),
    ("frames", "failed",
     "import sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n        for n, v in list(g.f_locals.items()):\n            if 'expected' in n or 'assert' in str(v): \n                try: return eval(str(v).split('==')[1])\n                except Exception: pass\n        g = g.f_back\n    return 0\n"),
    ("looks for the tests in memory", "failed",
     "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if isinstance(o, (list, tuple)) and any(isinstance(i, str) and i.startswith(''.join(['ass', 'ert f'])) for i in o): return x * x\n    return 0\n"),
    ("tracing", "failed", "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(x): return 0\n"),
    ("gc callbacks", "failed", "import gc, os\ngc.callbacks.append(lambda *a: None)\ndef f(x): return 0\n"),
    ("signal handler", "timeout",
     "import signal, sys\nsignal.signal(signal.SIGXCPU, lambda *a: sys.exit(0))\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(0))\nwhile True: pass\n"),
    ("alarm", "killed", "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nwhile True: pass\n"),
    ("__del__", "failed", "import os\nclass A:\n    def __del__(s): print('passed')\nkeep = A()\ndef f(x): return 0\n"),
    ("prints a report", "failed", "print('{\"status\": \"passed\"}\\nOK\\n3 passed')\ndef f(x): return 0\n"),
    ("forged answers on every descriptor", "failed",
     "import os\nfor n in range(0, 64):\n    for t in (b'{\"v\":4}\\n', b'D' + bytes(40), b'\\x08\\0\\0\\0{\"v\":4}\\n'):\n        try: os.write(n, t)\n        except OSError: pass\nos._exit(0)\n"),
    ("forged answers, then wrong", "failed",
     "import os\nfor n in range(0, 64):\n    try: os.write(n, b'{\"v\":0}\\n' * 9)\n    except OSError: pass\ndef f(x): return 0\n"),
    ("closes every descriptor", "error", "import os\nos.closerange(0, 64)\n" + PASS),
    ("replaces the answers by another file", "error",
     "import os\nd = os.open('/tmp/a', os.O_CREAT | os.O_RDWR)\nos.write(d, b'{\"v\":null}\\n{\"v\":4}\\n{\"v\":9}\\n{\"v\":2.25}\\n')\nos.dup2(d, 3)\n" + PASS.replace("x * x", "0")),
    ("a reply that is no value", "failed",
     "import os\nos.write(3, b'{\"v\":null}\\n{\"v\":{\"zz\":1}}\\n{\"q\":9}\\n[1]\\n')\n" + PASS.replace("x * x", "0")),
    ("forged handles", "failed",
     "import os\nos.write(3, b'{\"v\":null}\\n' + b'{\"v\":{\"h\":[0,\"int\",\"o\",[]]}}\\n' * 3)\nos._exit(0)\n"),
    ("a reference to the arguments", "failed",
     "import os\nos.write(3, b'{\"v\":null}\\n' + b'{\"v\":{\"@\":0}}\\n' * 3)\nos._exit(0)\n"),
    ("a hostile pickle", "failed",
     "class A:\n    def __reduce__(s): return (exec, ('import os; os._exit(0)',))\ndef f(x): return A()\n"),
    ("a hostile list", "failed", "class L(list):\n    def __iter__(s): return iter([4])\n    def __len__(s): return 1\ndef f(x): return L([0])\n"),
    ("a hostile dict", "failed", "class D(dict):\n    def items(s): raise SystemExit\ndef f(x): return D(a=1)\n"),
    ("changes its arguments", "failed", "def f(x):\n    x = 4\n    return 0\n"),
    ("answers late", "timeout", "import time\ndef f(x):\n    time.sleep(1.3)\n    return x * x\n"),
    ("stops the clock", "timeout",
     "import time\ntime.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0\nwhile True: pass\n"),
    ("stops itself", "timeout", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n" + PASS),
    ("no function", "error", "x = 1\n"),
    ("no code", "no_code", "\n  \n"),
    ("a function of other arguments", "error", "def f(): return 4\n"),
    ("an async function", "failed", "async def f(x): return x * x\n"),
    ("syntax error", "error", "def f(x) return x\n"),
    ("null bytes", "error", "def f(x): return 4\0\n"),
    ("lone surrogates", "error", "def f(x): return '\ud800'\n\ud800"),
    ("an exception that cannot be shown", "error",
     "class E(Exception):\n    def __str__(s): raise SystemExit(0)\n    __repr__ = __str__\ndef f(x): raise E\n"),
    ("an exception group", "error", "def f(x): raise BaseExceptionGroup('g', [SystemExit(0)])\n"),
    ("an exception posing as an assertion", "error", "def f(x): raise AssertionError\n"),
    ("returns the exception", "failed", "def f(x): return AssertionError()\n"),
]  # fmt: skip

# clone(2) with flags alone, which need not ask for a signal at the child's end; 0x8000 is CLONE_PARENT.
CLONE = (
    "import ctypes, os, time\nnumber = 56 if os.uname().machine == 'x86_64' else 220\n"
    "def clone(flags): return ctypes.CDLL(None).syscall(number, flags, 0, 0, 0, 0)\n"
)
POISON = [
    ("leaves a daemon", "passed",
     "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: time.sleep(1)\n    os._exit(0)\n" + PASS),
    ("leaves a child of the server's that ends without a signal", "passed",
     CLONE + "if clone(0) == 0:\n    if clone(0x8000) == 0:\n        while True: time.sleep(1)\n    os._exit(0)\ntime.sleep(0.05)\n" + PASS),
    ("leaves a brother", "passed",
     CLONE + "if clone(0x8000) == 0:\n    if clone(0x8000) == 0:\n        while True: time.sleep(1)\n    while True: time.sleep(1)\n" + PASS),
    ("leaves many daemons", "passed",
     "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        os.setsid()\n        while True: time.sleep(1)\n" + PASS),
    ("leaves a daemon that ignores signals", "passed",
     "import os, time, signal\nif os.fork() == 0:\n    os.setsid()\n    for n in range(1, 32):\n        try: signal.signal(n, signal.SIG_IGN)\n        except (OSError, ValueError): pass\n    while True: time.sleep(1)\n" + PASS),
    ("leaves a stopped child", "passed",
     "import os, signal\nif os.fork() == 0:\n    os.kill(os.getpid(), signal.SIGSTOP)\n" + PASS),
    ("leaves a file", "passed", "open('/tmp/poison', 'w').write('x')\n" + PASS),
    ("leaves a hidden file", "passed", "open('/tmp/.poison', 'w').write('x')\n" + PASS),
    ("leaves a module", "passed", "open('/tmp/poison.py', 'w').write('x')\nimport sys\nsys.path.insert(0, '/tmp')\nimport math\n" + PASS),
    ("leaves a deep tree", "passed", "import os\nfor _ in range(300):\n    os.mkdir('d' * 30)\n    os.chdir('d' * 30)\n" + PASS),
    ("leaves a named pipe", "passed", "import os\nos.mkfifo('/tmp/pipe')\n" + PASS),
    ("leaves a socket", "passed", "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('/tmp/s')\n" + PASS),
    ("leaves an abstract socket", "passed",
     "import socket, os, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0left-behind')\ns.listen()\nif os.fork() == 0:\n    while True: time.sleep(1)\n" + PASS),
    ("leaves POSIX shared memory", "passed",
     "from multiprocessing import shared_memory\nm = shared_memory.SharedMemory('poison', True, 4096)\n" + PASS),
    ("leaves a lock on a file", "passed", "import fcntl\nf_ = open('/tmp/lock', 'w')\nfcntl.flock(f_, fcntl.LOCK_EX)\n" + PASS),
    ("poisons builtins", "passed", "import builtins\nbuiltins.poison = 1\nbuiltins.len = lambda x: 7\n" + PASS),
    ("poisons a module", "passed", "import math, sys, types\nmath.sqrt = None\nsys.modules['poison'] = types.ModuleType('poison')\n" + PASS),
    ("poisons the environment", "passed", "import os\nos.environ['POISON'] = '1'\nos.putenv('PYTHONPATH', '/tmp')\n" + PASS),
    ("poisons the working folder", "passed", "import os\nos.chdir('/usr')\n" + PASS),
    ("poisons the folder's times", "passed", "import os\nos.utime('/tmp', (0, 0))\n" + PASS),
    ("poisons signal handling", "passed", "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n" + PASS),
    ("poisons interned objects", "passed",
     "import ctypes\nctypes.memset(id(7) + 24, 8, 1)\n" + PASS),
]  # fmt: skip


def say(*messages: str) -> str:
    """Statements that write frames to the channel of the conversation."""
    lines = "import os, time\ndef send(b): os.write(4, len(b).to_bytes(4, 'little') + b)\n"
    return lines + "".join(f"send({message.encode()!r})\n" for message in messages)


LOADED = '{"v":null}'
FORGED = '{"x":{"type":"%s","bases":["%s","BaseException"],"text":"","args":[0]}}'
REST = "class Odd(Exception): pass\ndef size(x): return len(x)\n"
TALKING = "def f(x):\n    if type(x) is str: raise Odd\n    return x * x\n" + REST
LIVE = [
    ("a right program", "passed", TALKING),
    ("dribbles", "timeout", say() + "os.write(4, bytes([64, 66, 15, 0]))\nwhile True:\n    os.write(4, b'x')\n    time.sleep(0.02)\n"),
    ("says half of it", "timeout", say() + "os.write(4, bytes([99, 0, 0, 0]) + b'{')\ntime.sleep(1000)\n"),
    ("says half of it and ends", "error", say() + "os.write(4, bytes([99, 0, 0, 0]) + b'{')\nos._exit(0)\n"),
    ("ends, a child says the rest", "error",
     say() + "if os.fork() == 0:\n    time.sleep(0.2)\n    send(b'{\"v\":null}')\n    time.sleep(1000)\nos._exit(0)\n"),
    ("never listens", "timeout", "import time\n" + TALKING.replace("return len(x)", "time.sleep(1000)")),
    ("never listens to what is long", "timeout",
     say(LOADED, '{"v":4}', *[FORGED % ("Odd", "Exception")] * 2, '{"v":0}', '{"v":1}', '{"v":4}') + "time.sleep(1000)\n"),
    ("says too much", "error", say() + "os.write(4, b'\\xff' * 4)\nos._exit(0)\n"),
    ("forges a report", "error",
     say() + "os.write(4, (30).to_bytes(4, 'little') + b'D' + bytes(29))\nos._exit(0)\n"),
    ("answers before it is asked", "failed", say(*['{"v":0}'] * 60) + "time.sleep(0.2)\nos._exit(0)\n"),
    *(
        (f"forges {name} for a name", "memory" if name == "MemoryError" else "error", say(LOADED, *[FORGED % (name, name)] * 9) + "time.sleep(0.2)\nos._exit(0)\n")
        for name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError", "RecursionError")
    ),
    ("raises what no class can be named", "error", TALKING.replace("return x * x", "raise type('A\\ud800', (Exception,), {})()")),
    ("calls back for ever", "timeout", say(LOADED) + "while True: send(b'{\"cb\":[0,[],{}]}')\n"),
    ("an endless iterator of long texts", "failed", TALKING.replace("return x * x", "while True: yield 'x' * 1_000_000")),
    ("changes arguments it was not given", "failed",
     say(LOADED, *['{"v":4,"m":[[0,[5]],[7,[1]]]}'] * 9) + "time.sleep(0.2)\nos._exit(0)\n"),
    ("odd shapes", "failed",
     say(LOADED, *['{"v":{"np":["<f8",[0,99999999999],""]}}', '{"v":{"nt":["A",["a","a"],[1,2]]}}',
                   '{"v":{"D":"1E+999999999999999999"}}', '{"v":{"r":[0,1,0]}}', '{"v":{"F":[1,0]}}', '{"m":5,"v":1}',
                   '[]', '{"v":{"s":[[]]}}', '{"v":{"h":["0",1,2,3]}}']) + "time.sleep(0.2)\nos._exit(0)\n"),
]  # fmt: skip

GROUPS = {"resource": RESOURCE, "escape": ESCAPE, "cheating": CHEATING, "poison": POISON, "live": LIVE}
