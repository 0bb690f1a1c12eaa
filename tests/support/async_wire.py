"""The bare client of wire.py for many at once: asyncio, one reply checked octet by octet.

Every text a client asks for carries its own mark, <client.number>. A mark of anybody else, anywhere in what it receives,
is a Stranger: the one thing that must never happen.
"""
import asyncio
import re
import socket
import struct

from . import wire

MARK = re.compile(rb"<\d+\.\d+>")


class Stranger(Exception):
    """A reply that is not ours."""


class Refused(Exception):
    """An error where an answer was expected: .fields, and .fatal when the connection is over."""

    def __init__(self, fields):
        super().__init__(str(fields))
        self.fields, self.state = fields, fields.get("C", "")
        self.fatal = fields.get("S") == "FATAL"


class AsyncClient:
    def __init__(self, port, number, seconds=30):
        self.port, self.number, self.seconds = port, number, seconds
        self.count, self.mine = 0, {b""}
        self.parameters, self.key, self.asynchronous = {}, None, []
        self.reader = self.writer = None

    def mark(self):
        self.count += 1
        mark = f"<{self.number}.{self.count}>"
        self.mine = {mark.encode()}
        return mark

    async def open(self, **words):
        self.reader, self.writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22), self.seconds)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(wire.startup(**words))
        while True:
            kind, payload = await self.receive()
            if kind == "S":
                name, value = payload.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = payload
            elif kind == "E":
                raise Refused(wire.error(payload))
            elif kind == "Z":
                return self

    def send(self, *messages):
        self.writer.write(b"".join(messages))

    async def sent(self):
        await asyncio.wait_for(self.writer.drain(), self.seconds)

    def leave(self, how):
        """terminate, finish (an orderly end of the stream) or reset (RST: gone without a word)."""
        if self.writer is None:
            return
        if how == "terminate":
            self.writer.write(wire.TERMINATE)
        if how == "reset":
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                            struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        self.writer.close()
        self.writer = None

    async def receive(self):
        """One message, whoever it is for: marks in it must be ours."""
        try:
            head = await asyncio.wait_for(self.reader.readexactly(5), self.seconds)
            length = struct.unpack("!I", head[1:])[0] - 4
            payload = await asyncio.wait_for(self.reader.readexactly(length), self.seconds)
        except asyncio.TimeoutError:
            raise AssertionError(f"client {self.number}.{self.count}: no answer in {self.seconds} s") from None
        except (asyncio.IncompleteReadError, OSError) as e:
            raise wire.Closed(str(e)) from None
        for mark in MARK.findall(payload):
            if mark not in self.mine:
                raise Stranger(f"client {self.number}.{self.count} got {chr(head[0])} {payload[:300]!r}")
        return chr(head[0]), payload

    async def answer(self):
        """The next message that is an answer; notices, parameters and notifications are put aside."""
        while True:
            kind, payload = await self.receive()
            if kind not in "NSA":
                return kind, payload
            self.asynchronous.append((kind, payload))

    async def expect(self, *wanted):
        """Exactly these messages: bytes compare octet by octet, a letter compares the kind alone."""
        got = []
        for want in wanted:
            kind, payload = await self.answer()
            got.append(payload)
            if kind == "E" and want != "E":
                raise Refused(wire.error(payload))
            if isinstance(want, str):
                right = kind == want
            else:
                right = wire.message(kind, payload) == want
            if not right:
                raise Stranger(f"client {self.number}.{self.count} got {kind} {payload[:300]!r} instead of {want!r}")
        return got

    async def ask(self, sql):
        """A simple query: its rows as text, Refused on error (after ReadyForQuery)."""
        self.send(wire.query(sql))
        rows, problem = [], None
        while True:
            kind, payload = await self.answer()
            if kind == "D":
                rows.append(wire.row(payload))
            elif kind == "E":
                problem = Refused(wire.error(payload))
                if problem.fatal:
                    raise problem
            elif kind == "Z":
                self.status = payload.decode()
                if problem:
                    raise problem
                return rows
