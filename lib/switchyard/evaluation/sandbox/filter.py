"""The system calls that no candidate may make, as a seccomp filter made by libseccomp.

Both kinds of walls have it. It closes what the other walls leave open: without new processes, the memory of one
process is the memory of the candidate; memory that no process maps (shared segments, anonymous files) has no limit
of its own; and Landlock does not cover modes and owners of files, signals or other users' processes.
"""

from __future__ import annotations

import errno
from pathlib import Path

from switchyard.errors import InputError

PROCESSES = ("fork", "vfork", "setns", "unshare", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp")
SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
NETWORK = ("socket", "socketpair", "bind", "connect", "listen", "accept", "accept4")
UNMAPPED_MEMORY = ("memfd_create", "shmget", "shmat", "shmctl", "msgget", "semget", "mq_open", "userfaultfd")
MODES = (
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat"),
    *(
        "utimensat",
        "setxattr",
        "lsetxattr",
        "fsetxattr",
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "truncate",
    ),
)
SYSTEM = (
    *(
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "swapon",
        "swapoff",
        "reboot",
        "acct",
        "syslog",
        "quotactl",
    ),
    *(
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "kexec_file_load",
        "bpf",
        "perf_event_open",
    ),
    *("add_key", "request_key", "keyctl", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime"),
    *(
        "sethostname",
        "setdomainname",
        "open_by_handle_at",
        "name_to_handle_at",
        "fanotify_init",
        "iopl",
        "ioperm",
    ),
    *("modify_ldt", "personality", "lookup_dcookie", "nfsservctl", "vhangup", "mknod", "mknodat"),
)
OTHERS_PRIORITIES = (
    *(
        "setpriority",
        "ioprio_set",
        "sched_setscheduler",
        "sched_setparam",
        "sched_setattr",
        "sched_setaffinity",
    ),
    *("move_pages", "migrate_pages"),
)
SINCE_2019 = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
    "open_tree_attr": 467,
}
"""Numbers, the same on every architecture, of calls that an older libseccomp does not know by name."""

REFUSED = (
    *(*PROCESSES, *SIGNALS, *NETWORK, *UNMAPPED_MEMORY, *MODES, *SYSTEM, *OTHERS_PRIORITIES),
    *SINCE_2019.values(),
)
"""Calls that fail with EPERM."""

_CLONE_THREAD = 0x10000
_CLONE3 = 435


def write_filter(path: Path) -> None:
    """Write the filter as the BPF program that the kernel takes.

    Raises:
        InputError: libseccomp is not installed.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"sandbox: seccomp is not available ({error}); install it: apt install libseccomp2, make install"
        ) from error
    refuse, rules = seccomp.ERRNO(errno.EPERM), seccomp.SyscallFilter(seccomp.ALLOW)
    for call in REFUSED:
        number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call) if isinstance(call, str) else call
        if number >= 0:  # below 0: not a call of this architecture
            rules.add_rule(refuse, number)
    # A thread is allowed, a process is not. clone3 hides its flags from filters; without it the C library uses clone.
    rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), _CLONE3)
    rules.add_rule(refuse, "prlimit64", seccomp.Arg(0, seccomp.NE, 0))  # limits of other processes
    rules.add_rule(refuse, "prctl", seccomp.Arg(0, seccomp.EQ, 1))  # to outlive the process that watches it
    with path.open("wb") as file:
        rules.export_bpf(file)
