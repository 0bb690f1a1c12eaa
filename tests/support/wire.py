"""A bare protocol v3 client for what drivers will not do: odd cuts, odd orders, odd bytes."""
import socket
import struct


def message(kind, payload=b""):
    return kind.encode() + struct.pack("!I", len(payload) + 4) + payload


def cstring(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def startup(user="postgres", database="test", version=196608, **parameters):
    words = {"user": user, "database": database, **parameters}
    body = b"".join(cstring(k) + cstring(v) for k, v in words.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, version) + body


def query(sql):
    return message("Q", cstring(sql))


def shorts(numbers):
    return struct.pack(f"!H{len(numbers)}H", len(numbers), *numbers)


def parse(sql, name="", types=()):
    return message("P", cstring(name) + cstring(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(*values, portal="", statement="", formats=(), results=()):
    body = cstring(portal) + cstring(statement) + shorts(formats) + struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value.encode())) + value.encode()
    return message("B", body + shorts(results))


def describe(what="P", name=""):
    return message("D", what.encode() + cstring(name))


def execute(portal="", rows=0):
    return message("E", cstring(portal) + struct.pack("!I", rows))


def close(what="S", name=""):
    return message("C", what.encode() + cstring(name))


SYNC, FLUSH, TERMINATE = message("S"), message("H"), message("X")


class Closed(Exception):
    """The server closed the connection."""


class Client:
    def __init__(self, port, seconds=60):
        """port: or the path of a UNIX socket."""
        if isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(seconds)
            self.socket.connect(port)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.parameters, self.key = {}, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def take(self, count):
        while len(self.buffer) < count:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise Closed(bytes(self.buffer))
            self.buffer += chunk
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def receive(self):
        """One message: (kind, payload)."""
        head = self.take(5)
        return chr(head[0]), self.take(struct.unpack("!I", head[1:])[0] - 4)

    def until(self, stop="Z"):
        """Messages up to and with the first of kind `stop`."""
        got = []
        while not got or got[-1][0] != stop:
            got.append(self.receive())
        return got

    def login(self, **words):
        """Logs in where no password is asked."""
        self.send(startup(**words))
        for kind, payload in self.until("Z"):
            if kind == "S":
                name, value = payload.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = payload
            elif kind == "E":
                raise Closed(error(payload))
        return self

    def ask(self, sql):
        """A simple query; returns the rows as text, raises on error."""
        self.send(query(sql))
        got = self.until("Z")
        for kind, payload in got:
            if kind == "E":
                raise RuntimeError(error(payload))
        return [row(p) for k, p in got if k == "D"]


def kinds(messages, without="SN"):
    return "".join(k for k, _ in messages if k not in without)


def row(payload):
    count, = struct.unpack_from("!H", payload)
    values, at = [], 2
    for _ in range(count):
        length, = struct.unpack_from("!i", payload, at)
        at += 4
        values.append(None if length < 0 else payload[at:at + length].decode())
        at += max(length, 0)
    return values


def error(payload):
    """Field letter -> text."""
    return {f[:1].decode(): f[1:].decode(errors="replace") for f in payload.split(b"\0") if f}


def cancel_request(key, version=80877102):
    return struct.pack("!II", 8 + len(key), version) + key


def copy_data(data):
    return message("d", data if isinstance(data, bytes) else data.encode())


COPY_DONE = message("c")


def copy_fail(why):
    return message("f", cstring(why))


# What a server says, for comparing whole replies octet by octet.

def ready(status="I"):
    return message("Z", status.encode())


def complete(tag):
    return message("C", cstring(tag))


def text_column(name="?column?"):
    """RowDescription of one text column that belongs to no table."""
    return message("T", struct.pack("!H", 1) + cstring(name) + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0))


def data_row(*values):
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", len(value.encode())) + value.encode()
    return message("D", body)
