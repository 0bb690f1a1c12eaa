"""A TCP relay that holds back what one side says, for orders of events that a network can bring about."""
import contextlib
import socket
import threading


class Relay:
    """Between whoever connects to `port` and a server of this machine."""

    def __init__(self, to):
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.changed = threading.Condition()
        self.request, self.reply_to = None, None  # what is held: requests with these octets, the replies to such
        self.held = 0
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_requests(self, octets):
        """Each connection from the first chunk with these octets on."""
        self.request = octets

    def hold_replies(self, octets):
        """Each connection's, from the reply to the first chunk with these octets on."""
        self.reply_to = octets

    def release(self):
        with self.changed:
            self.request = self.reply_to = None
            self.held = 0
            self.changed.notify_all()

    def close(self):
        self.release()
        self.listener.close()
        for s in self.sockets:  # a thread that still reads would keep it open
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += (client, server)
            asked = threading.Event()
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(*ends, asked), daemon=True).start()

    def _pass(self, source, sink, requests, asked):
        try:
            while chunk := source.recv(65536):
                if requests:
                    if self.reply_to is not None and self.reply_to in chunk:
                        asked.set()
                    if self.request is not None and self.request in chunk:
                        self._wait()
                elif asked.is_set():
                    self._wait()
                    asked.clear()
                sink.sendall(chunk)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _wait(self):
        with self.changed:
            self.held += 1
            self.changed.wait_for(lambda: self.request is None and self.reply_to is None)
