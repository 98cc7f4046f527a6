"""Runs one candidate within the walls. It is copied into the sandbox and started there: standard library only.

Its arguments are a mark, the limits (`limit`) and what it gives up (`restrict`, as JSON, or nothing). Standard input is
a line with a password, then the program. It writes `+` to standard output when the walls stand and the candidate
begins, then its verdict: lines of the password, a reason and a message. The password keeps a candidate that ends early,
or prints, from passing by accident or by a simple trick. It is no wall: candidate and tests share a process. Little is
imported, since every candidate waits for it.
"""

import errno
import os
import resource
import sys

REFUSED = {
    *(errno.EPERM, errno.EACCES, errno.EROFS, errno.ENETUNREACH, errno.ENOSPC, errno.EFBIG, errno.EMFILE),
    errno.EAGAIN,
}
"""What the system answers to one who wants more than the sandbox gives."""

HEADROOM_BYTES = 64 * 2**20
"""Memory beyond the limit in which a candidate's failure is put into words."""


def main(mark: str, limits: str, landlock: str = "") -> None:
    """Judge the candidate of standard input."""
    with open(0, "rb", closefd=False) as given:
        password, _, program = given.read().partition(b"\n")
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    limit(*map(int, limits.split(",")))
    if landlock:
        import json

        restrict(**json.loads(landlock))
    os.write(out, b"+")
    reason, message = judge(program)
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    os.write(out, b"\n".join([password, reason.encode(), message.encode(errors="replace")]))
    os._exit(0)


def limit(cpu_seconds: int, memory_bytes: int, file_bytes: int, open_files: int, processes: int) -> None:
    """Set the limits that the candidate inherits and cannot raise; 0 processes for no limit on them."""
    wanted = {
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),
        resource.RLIMIT_AS: (memory_bytes, memory_bytes + HEADROOM_BYTES),
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_NOFILE: (open_files, open_files),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    if processes:
        wanted[resource.RLIMIT_NPROC] = (processes, processes)
    for name, pair in wanted.items():
        resource.setrlimit(name, pair)


def restrict(*, package: str, readable: "list[str]", devices: "list[str]", seccomp: str) -> None:
    """Give up all files but some to read, and the system calls of the filter, for good.

    Raises:
        OSError: the kernel refuses the filter.
    """
    import ctypes

    sys.path.insert(0, package)
    from landlockpy import AccessFS, Ruleset, Scope

    sys.path.remove(package)
    os.umask(0o077)
    with open(seccomp, "rb") as file:
        code = file.read()
    with Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) as rules:
        for path in readable:
            rules.allow_path(path, AccessFS.READ_FILE | AccessFS.READ_DIR | AccessFS.EXECUTE)
        for path in devices:
            rules.allow_path(path, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        rules.restrict()

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL: it ends with the process that watches it
    program = Program(len(code) // 8, code)
    if libc.prctl(22, 2, ctypes.byref(program), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "the seccomp filter was not taken")


def judge(program: bytes) -> "tuple[str, str]":
    """Run a candidate with its tests: reason and message."""
    module = type(sys)("candidate")
    sys.modules["candidate"] = module
    sys.argv[:] = ["candidate"]
    try:
        exec(compile(program, "<candidate>", "exec"), module.__dict__)
    except BaseException as error:
        return reason_of(error), words_of(error)
    return "passed", ""


def reason_of(error: BaseException) -> str:
    """What ended a candidate."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, AssertionError):
        return "wrong"
    if isinstance(error, OSError) and error.errno in REFUSED:
        return "refused"
    return "error"


def words_of(error: BaseException) -> str:
    """Type and first line of an exception, whatever it does when it is printed."""
    try:
        lines = str(error).splitlines()
    except BaseException:
        lines = []
    return ": ".join([type(error).__name__, *lines[:1]])[:200]


if __name__ == "__main__":
    main(*sys.argv[1:])
