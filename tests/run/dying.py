"""launch.py with a fault in it: python dying.py KIND NUMBER DELAY WORDS...

step        kill -9 at the NUMBERth step, DELAY seconds after its loss is known
torn        kill -9 half way through the NUMBERth file that is written whole or not at all
unrenamed   the same, when it is written and has not yet its name
renamed     the same, when it has
full        instead of a kill: no space left half way through that file
A KIND with `-ckpt` behind it counts checkpoints only.
"""

import errno
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import launch
from threestudio_like import files
from threestudio_like.run.guard import Guard


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def at_step(number: int, delay: float) -> None:
    seen, before = [0], Guard.on_before_backward

    def counted(self: Guard, *args: object) -> None:
        seen[0] += 1
        if seen[0] == number:
            threading.Timer(delay, die).start()
        before(self, *args)

    Guard.on_before_backward = counted


def at_file(kind: str, number: int, only: str) -> None:
    seen, flush = [0], files._flush

    def counted(path: Path) -> None:
        if path.is_dir():  # after the rename
            if kind == "renamed" and seen[0] == number:
                die()
            return flush(path)
        seen[0] += path.name.endswith(only)
        if seen[0] == number and path.name.endswith(only):
            if kind in ("torn", "full"):
                halve(path)
            if kind == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(path)
            if kind != "renamed":
                die()
        flush(path)

    files._flush = counted


if __name__ == "__main__":
    kind, number, delay, *words = sys.argv[1:]
    if kind == "step":
        at_step(int(number), float(delay))
    else:
        name, _, only = kind.partition("-")
        at_file(name, int(number), only)
    sys.argv = ["launch.py", *words]
    launch.main()
