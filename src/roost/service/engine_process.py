"""The child of a `ProcessHost`: reads work from its socket, carries it out, answers, and ends with its parent."""

from __future__ import annotations

import logging
import signal
import socket
import sys

from roost.engine.opening import open_engine
from roost.engine.protocol import Engine
from roost.errors import RoostError
from roost.service import frames
from roost.service.host import carry_out
from roost.service.ids import system_rng

log = logging.getLogger("roost.service.engine_process")


def serve(connection: socket.socket, engine: Engine) -> None:
    """Answer work until the other end closes."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(frames.HEAD.size)) == frames.HEAD.size:
            size, kind = frames.HEAD.unpack(head)
            body = stream.read(size)
            if len(body) < size:
                return
            connection.sendall(_answer(engine, kind, body))


def _answer(engine: Engine, kind: int, body: bytes) -> bytes:
    try:
        return frames.reply(carry_out(engine, frames.work(kind, body)))
    except RoostError as error:
        return frames.refusal(error)
    except Exception as error:
        log.exception("the engine failed")
        return frames.refusal(RoostError(f"the engine failed: {type(error).__name__}: {error}", help="see the log"))


def _refuse(connection: socket.socket, error: RoostError) -> None:
    """Answer the first piece of work with why there is no engine."""
    with connection.makefile("rb") as stream:
        head = stream.read(frames.HEAD.size)
        if len(head) == frames.HEAD.size:
            stream.read(frames.HEAD.unpack(head)[0])
            connection.sendall(frames.refusal(error))


def main() -> None:
    """Serve the socket whose number is the first argument; the store's spec comes by standard input."""
    # Ctrl-C reaches the whole group; the parent finishes its work first and closes the socket then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = sys.stdin.read()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            engine = open_engine(spec, rng=system_rng)
        except RoostError as error:
            _refuse(connection, error)
            return
        try:
            serve(connection, engine)
        except (BrokenPipeError, ConnectionResetError):
            log.warning("the parent went away")
        finally:
            engine.close()


if __name__ == "__main__":
    main()
