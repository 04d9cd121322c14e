"""A gateway behind a real server, and connections to it on which anything may be said."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.app import Server, config, listen


class Line:
    """Connections to a running gateway."""

    def __init__(self, where: tuple[str, int]) -> None:
        self.where = where

    def open(self) -> socket.socket:
        return socket.create_connection(self.where, timeout=20)

    def say(self, *parts: bytes) -> bytes:
        """The answer to what is said on a connection of its own, until the gateway ends it or the answer is whole."""
        with self.open() as connection:
            try:
                for part in parts:
                    connection.sendall(part)
            except ConnectionError:  # cut off
                pass
            return heard(connection)

    def status(self, *parts: bytes) -> int:
        """The status of the answer; 0: there is none."""
        return int(([*self.say(*parts).split(b" ", 2), b"0", b"0"])[1])


def heard(connection: socket.socket) -> bytes:
    """What comes until the other end stops, or until a whole answer is there."""
    found = b""
    try:
        while more := connection.recv(65_536):
            found += more
            head, _, body = found.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length and len(body) >= int(length[0].split(b":")[1]):
                break
    except ConnectionError:
        pass
    return found


@contextmanager
def serving(app: Any, *proxies: str) -> Iterator[Line]:
    listening = listen("127.0.0.1", 0)
    server = Server(config(app, proxies), app.state.watch)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Line(listening.getsockname())
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
