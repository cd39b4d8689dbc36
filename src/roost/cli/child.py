"""A command in a process that ends with the one that started it, however that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence


class Child:
    """A running ``roost`` command that cannot outlive this process."""

    def __init__(self, words: Sequence[str]) -> None:
        reading, self._lifeline = os.pipe()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this program, with arguments of our own
                [sys.executable, "-m", "roost.cli.child", str(reading), *words],
                pass_fds=(reading,),
                stdin=subprocess.DEVNULL,
                # A terminal's Ctrl-C is the starter's: it ends its children in order.
                process_group=0,
            )
        finally:
            os.close(reading)

    def ended(self) -> int | None:
        """Its exit code, once it has ended."""
        return self.process.poll()

    def stop(self, seconds: float) -> None:
        """Ask it to end; kill it after ``seconds``."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._lifeline)


def _end_with_starter(lifeline: int) -> None:
    # Returns when the starter's end of the pipe is closed, which its death does too.
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _main() -> None:
    lifeline = int(sys.argv[1])
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_end_with_starter, args=(lifeline,), daemon=True).start()
    from roost.cli.main import main

    main(sys.argv[2:], prog_name="roost")


if __name__ == "__main__":
    _main()
