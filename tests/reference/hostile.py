"""Completions that mean harm, for any problem of tests/reference/programs.jsonl, and what must become of them.

Each is the body of a function whose tests call it. `{file}`, `{folder}`, `{port}` and `{victim}` are things of the host
(`sandbox.proof.Host`). All of them do nothing worse than a test may do, should a wall be broken.
"""

from __future__ import annotations

STOPPED = ("error", "refused", "memory", "time-out", "wrong")

HOSTILE: dict[str, tuple[str, tuple[str, ...]]] = {
    "reads a file of the host": ("    return open({file!r}).read()\n", ("error", "refused")),
    "overwrites a file of the host": ("    open({file!r}, 'w').write('x')\n", ("error", "refused")),
    "deletes a file of the host": ("    import os\n    os.unlink({file!r})\n", ("error", "refused")),
    "deletes a folder of the host": (
        "    import shutil\n    shutil.rmtree({folder!r})\n",
        ("error", "refused"),
    ),
    "changes a file's mode": ("    import os\n    os.chmod({file!r}, 0)\n", ("error", "refused")),
    "reads the passwords": ("    return open('/etc/shadow').read()\n", ("error", "refused")),
    "walks through the home folder": (
        "    import os\n    assert not os.listdir(os.path.expanduser('~root')), 'seen'\n    os.listdir({folder!r})\n",
        ("error", "refused", "wrong"),
    ),
    "calls a server": (
        "    import socket\n    socket.create_connection(('127.0.0.1', {port})).send(b'x')\n",
        ("refused",),
    ),
    "opens a server": (
        "    import socket\n    socket.create_server(('0.0.0.0', 0))\n    raise PermissionError(1, 'x')\n",
        ("refused",),
    ),
    "fetches a page": (
        "    import urllib.request\n    urllib.request.urlopen('http://127.0.0.1:{port}/')\n",
        ("error", "refused"),
    ),
    "fork bomb": (
        "    import os, time\n    for _ in range(100):\n        if os.fork() == 0:\n            time.sleep(20)\n",
        ("refused",),
    ),
    "thread bomb": (
        "    import threading\n    wait = threading.Event()\n    for _ in range(9999):\n"
        "        threading.Thread(target=wait.wait, daemon=True).start()\n",
        ("error", "refused", "memory"),
    ),
    "leaves a process behind": (
        "    import os, time\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\n    os._exit(0)\n",
        ("refused",),
    ),
    "starts a shell": ("    import os\n    assert os.system('id') == 0\n", ("wrong", "refused")),
    "starts a program": (
        "    import subprocess\n    subprocess.run(['/bin/sh', '-c', 'id'])\n",
        ("error", "refused"),
    ),
    "becomes a program": (
        "    import os\n    os.execv('/bin/sh', ['sh', '-c', 'echo +; sleep 1'])\n",
        ("error", "refused"),
    ),
    "kills a process": ("    import os\n    os.kill({victim}, 9)\n", ("error", "refused")),
    "kills itself": ("    import os\n    os.kill(os.getpid(), 9)\n", STOPPED),
    "takes all memory": ("    return bytearray(2 ** 40)\n", ("memory",)),
    "takes memory bit by bit": (
        "    kept = []\n    while True:\n        kept.append(bytearray(2 ** 22))\n",
        ("memory", "time-out"),
    ),
    "takes memory of no process": (
        "    import os\n    for _ in range(40):\n        os.ftruncate(os.memfd_create('x'), 2 ** 24)\n",
        ("refused",),
    ),
    "fills the disk": (
        "    while True:\n        open('/tmp/x', 'ab').write(bytes(2 ** 22))\n",
        ("refused",),
    ),
    "fills shared memory": (
        "    while True:\n        open('/dev/shm/x', 'ab').write(bytes(2 ** 22))\n",
        ("error", "refused"),
    ),
    "opens all files": (
        "    kept = []\n    while True:\n        kept.append(open('/dev/null'))\n",
        ("refused",),
    ),
    "runs for ever": ("    while True:\n        pass\n", ("time-out",)),
    "runs for ever and ignores signals": (
        "    import signal\n    signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True:\n        pass\n",
        ("time-out",),
    ),
    "sleeps for ever": ("    import time\n    time.sleep(10 ** 6)\n", ("time-out",)),
    "catches all and goes on": (
        "    while True:\n        try:\n            1 / 0\n        except BaseException:\n            pass\n",
        ("time-out",),
    ),
    "closes its output and sleeps": (
        "    import os, time\n    os.closerange(0, 64)\n    time.sleep(10 ** 6)\n",
        ("time-out",),
    ),
    "floods its output": (
        "    import os\n    while True:\n        for number in range(3, 64):\n            try:\n"
        "                os.write(number, b'x' * 65536)\n            except OSError:\n                pass\n",
        ("error", "time-out"),
    ),
    "floods the screen": ("    while True:\n        print('x' * 65536)\n", ("time-out",)),
    "ends early": ("    import os\n    os._exit(0)\n", ("error",)),
    "exits early": ("    import sys\n    sys.exit(0)\n", ("error",)),
    "says that it passed": (
        "    import os\n    for number in range(1, 64):\n        try:\n"
        '            os.write(number, b\'["", "passed", ""]\')\n        except OSError:\n            pass\n'
        "    os._exit(0)\n",
        ("error",),
    ),
    "overflows the stack": ("    return [] + (lambda f: f(f))(lambda f: f(f))\n", ("error",)),
    "overflows the stack of C": (
        "    import sys\n    sys.setrecursionlimit(10 ** 9)\n    (lambda f: f(f))(lambda f: f(f))\n",
        ("error", "memory", "time-out"),
    ),
    "raises what cannot be printed": (
        "    class Evil(BaseException):\n        def __str__(self):\n            raise MemoryError\n    raise Evil\n",
        ("error",),
    ),
    "writes beyond its memory": ("    import ctypes\n    ctypes.string_at(0)\n", ("error",)),
    "becomes root": ("    import os\n    os.setuid(0)\n", ("error", "refused")),
    "mounts a file system": (
        "    import ctypes\n    assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0\n",
        ("wrong",),
    ),
    "looks at a process": (
        "    import ctypes\n    assert ctypes.CDLL(None).ptrace(16, {victim}, 0, 0) == 0\n",
        ("wrong",),
    ),
    "raises its limits": (
        "    import resource\n    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n",
        ("error", "refused"),
    ),
    "changes the interpreter": (
        "    open(__import__('os').__file__, 'a').write('#')\n",
        ("error", "refused"),
    ),
    "reads the environment": (
        "    import os\n    raise PermissionError(1, os.environ['SWITCHYARD_SECRET'])\n",
        ("error",),
    ),
}
"""By kind of harm: the completion, and the reasons that it may end with."""
