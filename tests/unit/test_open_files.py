"""The limit of open files."""

import subprocess
import sys

SCRIPT = """
import resource
from shared.open_files import allow_as_many_open_files_as_possible
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
allow_as_many_open_files_as_possible()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most))
"""


def test_a_process_takes_as_many_as_it_may_have() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    assert said.stdout == "True\n"
