"""log.txt: everything a run says, with the time, and more than the terminal shows."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from threestudio_like.files import FULL, writing

LIBRARIES = ("pytorch_lightning", "lightning_fabric", "lightning", "lightning.pytorch")


class Terminal(logging.Handler):
    """Our own lines, and others' errors, through whatever stdout is now: it may be a progress bar's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print, and let a broken pipe be somebody else's trouble."""
        ours = record.name.split(".")[0] in ("threestudio_like", "systems")
        if ours or record.levelno >= logging.ERROR:
            print(self.format(record), file=sys.stdout, flush=True)


class Written(logging.FileHandler):
    """The file. A full disk stops the run with a line of its own; Python would print a page for each here."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""

    def close(self) -> None:
        """And what is still in the buffer."""
        with suppress(OSError):
            super().close()


def thread_stopped(stopped: threading.ExceptHookArgs) -> None:
    """Python's page; none for a full disk, which TensorBoard raises again where it is asked to write."""
    if not (isinstance(stopped.exc_value, OSError) and stopped.exc_value.errno in FULL):
        threading.__excepthook__(stopped)


@contextmanager
def journal(file: Path, *, shown: bool) -> Iterator[None]:
    """Write the log while this lasts; the terminal has it too where `shown`."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = [Terminal()] if shown else []
    if shown:
        with writing(file):
            written = Written(file, encoding="utf-8")
        written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(written)
    libraries = [logging.getLogger(name) for name in LIBRARIES]
    before = root.level, [(library.handlers[:], library.propagate) for library in libraries]
    for library in libraries:  # they have handlers of their own; one way out is enough
        library.handlers.clear()
        library.propagate = True
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    logging.captureWarnings(True)
    hook, threading.excepthook = threading.excepthook, thread_stopped
    try:
        yield
    except BaseException:
        logging.getLogger("run").info("stopped", exc_info=True)
        raise
    finally:
        logging.captureWarnings(False)
        threading.excepthook = hook
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(before[0])
        for library, (own, library.propagate) in zip(libraries, before[1], strict=True):
            library.handlers[:] = own
