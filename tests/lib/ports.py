"""Free loopback ports below the range the kernel hands out by itself, so that nobody takes them in between. Tests that run
side by side have ranges of their own."""
import os
import random
import socket

_given = set()
_SHARES = 4
_share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _SHARES
_range = range(10000 + _share * 20000 // _SHARES, 10000 + (_share + 1) * 20000 // _SHARES)


def free_port(host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        port = random.choice(_range)
        if port in _given:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((host, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(f"no free port on {host}")
