"""Becomes another program that dies with the process that started it; run as a file, never imported.

    python -I -S leash.py PARENT_PID SIGNAL UID:GID|- PROGRAM [ARGUMENT ...]

A program of its own rather than a `preexec_fn`, which is unsafe once the parent has threads. The order matters: a
change of user clears the death signal, so it is set afterwards; and the parent may have died before it was set.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, account: str, command: list[str]) -> None:
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that wanted this one is gone")
    try:
        os.execv(command[0], command)  # noqa: S606  # no shell is wanted here
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
