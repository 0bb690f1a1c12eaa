"""Two network namespaces joined by one cable, to cut servers off from one another. Root only.

A UNIX socket is reached from anywhere, so clients and psql outside need no address in there.
"""
import os
import random
import subprocess

from . import system


def available():
    """Whether this machine lets us make namespaces and cables."""
    if os.getuid() != 0:
        return False
    try:
        Cable().remove()
        return True
    except (OSError, subprocess.CalledProcessError):
        return False


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True)


class Cable:
    """ends[0] and ends[1]: names of the namespaces; addresses[0] and addresses[1]: how each is reached from both."""

    def __init__(self):
        number = f"{os.getpid() % 10000}{random.randrange(100):02d}"
        self.ends = [f"hg{number}a", f"hg{number}b"]
        net = f"10.213.{random.randrange(256)}"
        self.addresses = [f"{net}.1", f"{net}.2"]
        made = []
        try:
            for end in self.ends:
                ip("netns", "add", end)
                made.append(end)
                ip("-n", end, "link", "set", "lo", "up")
            ip("-n", self.ends[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.ends[1])
            for end, address in zip(self.ends, self.addresses):
                ip("-n", end, "address", "add", f"{address}/30", "dev", "cable")
                ip("-n", end, "link", "set", "cable", "up")
        except (OSError, subprocess.CalledProcessError):
            for end in made:
                subprocess.run(["ip", "netns", "del", end], capture_output=True)
            raise

    def inside(self, end):
        """What a command begins with to run in there as the server user."""
        user = system.SERVER_USER
        return ["ip", "netns", "exec", self.ends[end], "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]

    def cut(self):
        ip("-n", self.ends[1], "link", "set", "cable", "down")

    def mend(self):
        ip("-n", self.ends[1], "link", "set", "cable", "up")

    def remove(self):
        for end in self.ends:
            ip("netns", "del", end)
