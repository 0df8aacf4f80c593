"""How many files and connections a process may hold open."""

import contextlib
import resource


def allow_as_many_open_files_as_possible() -> None:
    """Raise the limit to what the system grants without asking: 1,024 is a common start, meant for programs that use
    select(), and a worker with fifty silent mail servers of fifty connections each would be beyond it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS grants less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
