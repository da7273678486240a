"""Install what is only compared with, each on its own: one that does not install is skipped with a note.

Without what they depend on: that is here already, or a tree that would change the versions under test.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires

ALONE = ("nerfstudio==1.1.5",)  # whose own requirements contradict ours, so that no extra can name it


def main() -> None:
    """What the extra `bench` names, and nerfstudio."""
    named = [
        line.split(";")[0] for line in requires("threestudio-like") or [] if re.search(r"\bbench\b", line)
    ]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "-c", "constraints.txt"]
    for package in (*named, *ALONE):
        if subprocess.run([*pip, package]).returncode:
            print(f"skipped {package}: pip does not install it here")


if __name__ == "__main__":
    main()
