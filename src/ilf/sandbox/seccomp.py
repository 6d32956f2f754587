"""The system calls that programs do without, as a classic BPF filter for seccomp.

A list of refusals, not of permissions: what Python itself calls differs between versions and C libraries.
Calls newer than the tables below are refused as unknown (`ENOSYS`), so a new kernel opens nothing.
Sources: Linux `arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/unistd.h` (aarch64),
`include/uapi/linux/seccomp.h`.
"""

from __future__ import annotations

import errno
import platform
import struct

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
KILL = 0x80000000
LOAD, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_LOW, SECOND_LOW = 0, 4, 16, 24
NEW_NAMESPACES = (
    0x00000080 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
)

# name: (x86_64, aarch64); -1 where that architecture has no such call.
REFUSED = {
    # other processes' memory, descriptors and execution
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "perf_event_open": (298, 241),
    # their priorities, processors and limits: the server must keep its own
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "setpriority": (141, 140), "ioprio_set": (251, 30),
    # namespaces and file systems
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467), "statmount": (457, 457), "listmount": (458, 458), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18), "acct": (163, 89), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "file_setattr": (469, 469),
    # the kernel itself
    "bpf": (321, 280), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, -1), "ioperm": (173, -1),
    "modify_ldt": (154, -1), "vhangup": (153, 58), "personality": (135, 92), "uselib": (134, -1),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282), "io_setup": (206, 0), "set_mempolicy": (238, 237), "mbind": (237, 235),
    # what would outlive the program: keys, shared memory, semaphores, queues
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    # files that live in memory only, outside every limit
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
}  # fmt: skip
UNKNOWN = {"clone3": (435, 435)}  # "no such call": the C library falls back to clone, whose flags can be seen
CLONE, PRLIMIT, IOCTL = (56, 220), (302, 261), (16, 29)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
SET_FLAGS = (
    0x40086602,
    0x401C5820,
)  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR: marks on /tmp that no rmdir removes
LAST = 470
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}


def supported() -> bool:
    """Whether there is a filter for this machine's processor."""
    return platform.machine() in MACHINES


def seccomp_filter(machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, for `prctl(PR_SET_SECCOMP)`.

    Args:
        machine: `x86_64` or `aarch64`; None is this machine.

    Raises:
        KeyError: another processor.
    """
    architecture, column = MACHINES[machine or platform.machine()]
    code: list[tuple[int, int, int, int]] = []

    def refuse(number: int = errno.EPERM) -> tuple[int, int, int, int]:
        return (RETURN, 0, 0, ERRNO | number)

    code += [(LOAD, 0, 0, ARCHITECTURE), (JUMP_EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL)]
    code += [(LOAD, 0, 0, NUMBER), (JUMP_GREATER_EQUAL, 0, 1, LAST), refuse(errno.ENOSYS)]
    for numbers in REFUSED.values():
        if numbers[column] >= 0:
            code += [(JUMP_EQUAL, 0, 1, numbers[column]), refuse()]
    for numbers in UNKNOWN.values():
        code += [(JUMP_EQUAL, 0, 1, numbers[column]), refuse(errno.ENOSYS)]
    # clone: no new namespaces
    code += [(JUMP_EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, FIRST_LOW), (JUMP_SET, 0, 1, NEW_NAMESPACES)]
    code += [refuse(), (RETURN, 0, 0, ALLOW)]
    # socket, socketpair: AF_UNIX only
    for numbers in (SOCKET, SOCKETPAIR):
        code += [(JUMP_EQUAL, 0, 4, numbers[column]), (LOAD, 0, 0, FIRST_LOW), (JUMP_EQUAL, 1, 0, 1)]
        code += [refuse(), (RETURN, 0, 0, ALLOW)]
    # ioctl: all but these (the second argument is the request)
    code += [(JUMP_EQUAL, 0, 5, IOCTL[column]), (LOAD, 0, 0, SECOND_LOW)]
    code += [
        (JUMP_EQUAL, 1, 0, SET_FLAGS[0]),
        (JUMP_EQUAL, 0, 1, SET_FLAGS[1]),
        refuse(),
        (RETURN, 0, 0, ALLOW),
    ]
    # prlimit64: of the calling process only
    code += [(JUMP_EQUAL, 0, 4, PRLIMIT[column]), (LOAD, 0, 0, FIRST_LOW), (JUMP_EQUAL, 1, 0, 0)]
    code += [refuse(), (RETURN, 0, 0, ALLOW)]
    code += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
