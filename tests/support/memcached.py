"""A real memcached, and a plain client of it."""
import os
import shutil
import signal
import socket

from . import system
from .system import wait_until


class Memcached:
    def __init__(self):
        self.port, = system.free_ports(1)
        self.folder = system.scratch("memcached")
        self.process = None

    def settings(self):
        """Of a proxy that keeps its query cache there."""
        return {"memory_cache_enabled": True, "memqcache_method": "memcached", "memqcache_memcached_host": "127.0.0.1",
                "memqcache_memcached_port": self.port}

    def start(self):
        self.process = system.start(["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-m", "64"], f"{self.folder}/log")
        wait_until(lambda: system.can_connect(self.port), "memcached to listen")
        return self

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, command, end):
        """Its reply, up to and with a line that begins with one of the words `end`."""
        lines = []
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s, s.makefile("rb") as reply:
            s.sendall(command)
            while not lines or not lines[-1].startswith(end):
                lines.append(reply.readline())
                assert lines[-1], (command, lines)
        return b"".join(lines)

    def names(self, prefix):
        """Of what lies in it."""
        listing = self.ask(b"lru_crawler metadump hash\r\n", (b"END", b"BUSY", b"ERROR"))
        assert listing.endswith(b"END\r\n"), listing[-100:]
        names = [line.split()[0][4:] for line in listing.splitlines() if line.startswith(b"key=")]
        return [name for name in names if name.startswith(prefix)]

    def get(self, name):
        reply = self.ask(b"get " + name + b"\r\nversion\r\n", (b"VERSION",))
        if not reply.startswith(b"VALUE "):
            return None
        head, _, rest = reply.partition(b"\r\n")
        return rest[:int(head.split()[3])]

    def set(self, name, data):
        assert self.ask(b"set %s 0 0 %d\r\n%s\r\n" % (name, len(data), data), (b"STORED", b"SERVER", b"ERROR")) == b"STORED\r\n"
