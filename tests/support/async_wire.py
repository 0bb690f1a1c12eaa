"""The bare client of wire.py for many at once (asyncio): whole messages, as they come."""
import asyncio
import contextlib
import socket
import struct

from . import wire


class AsyncClient:
    READ_AHEAD = 1 << 16  # then nothing more is fetched from the socket: a client that does not read is a slow one

    def __init__(self, port):
        self.port, self.parameters, self.key = port, {}, None
        self.reader = self.writer = self.left = None
        self.buffer, self.at = b"", 0

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=self.READ_AHEAD)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def login(self, on_error, **words):
        """Up to ReadyForQuery, where no password is asked."""
        await self.connect()
        self.send(wire.startup(**words))
        while True:
            kind, payload = await self.receive()
            if kind == "S":
                name, value = payload.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = payload
            elif kind == "E":
                on_error(wire.error(payload))
            elif kind == "Z":
                return

    def send(self, *messages):
        self.writer.write(b"".join(messages))

    async def receive(self):
        """(kind, payload); Closed when the connection has ended."""
        while True:
            have = len(self.buffer) - self.at
            if have >= 5:
                total = 1 + struct.unpack_from("!I", self.buffer, self.at + 1)[0]
                if have >= total:
                    begin = self.at
                    self.at += total
                    return chr(self.buffer[begin]), self.buffer[begin + 5:begin + total]
            try:
                chunk = await self.reader.read(1 << 16)
            except OSError as e:
                raise wire.Closed(str(e)) from None
            if not chunk:
                raise wire.Closed(self.buffer[self.at:])
            self.buffer, self.at = self.buffer[self.at:] + chunk, 0

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
        self.left, self.writer = self.writer, None

    async def gone(self):
        """Until what leave() had still to send has been taken: an event loop that ends keeps it, and the connection."""
        if self.left is not None:
            with contextlib.suppress(OSError):
                await asyncio.wait_for(self.left.wait_closed(), 60)
