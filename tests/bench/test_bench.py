#!/usr/bin/python3
"""The benchmark's own programs, tried on each other: they must count right, and must not stay silent when
something is wrong."""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
BENCH = os.path.join(os.getcwd(), "tests", "bench")  # the build folder is where make check runs its programs


class Sink:
    def __init__(self, *options):
        self.child = subprocess.Popen([os.path.join(BENCH, "sink"), *options], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.port = int(self.child.stdout.readline().split()[1])

    def stat(self):
        self.child.stdin.write("stat\n")
        self.child.stdin.flush()
        return {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", self.child.stdout.readline())}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()  # its end: nothing to kill
        status = self.child.wait(10)
        self.child.stdout.close()
        assert status == 0, f"the sink ended with status {status}"


def load(port, *options):
    return subprocess.run([os.path.join(BENCH, "load"), "--port", str(port), "--warmup-ms", "0", *options],
                          timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
                   check=True, capture_output=True, timeout=60)
    return ["--cert", cert, "--key", key]


class Counts(unittest.TestCase):
    def count(self, sink, size, *options):
        before = sink.stat()
        run = load(sink.port, "--messages", "300", "--connections", "7", "--size", str(size), *options)
        self.assertEqual(run.returncode, 0, run.stderr)
        result, after = json.loads(run.stdout.splitlines()[-1]), sink.stat()
        self.assertGreaterEqual(result["total"], 300)
        self.assertEqual(after["messages"] - before["messages"], result["total"])
        self.assertEqual(after["bytes"] - before["bytes"], result["total"] * (size + len(".\r\n")))
        self.assertEqual(after["connections"] - before["connections"], result["opened"])
        self.assertEqual(after["open"], 0)
        return result

    def test_all_modes_lose_nothing(self):
        with tempfile.TemporaryDirectory() as folder, Sink(*certificate(folder)) as sink:
            for options in ([], ["--lockstep"], ["--starttls"], ["--starttls", "--lockstep"]):
                for size in (1000, 1024, 102400):
                    with self.subTest(options=options, size=size):
                        self.assertEqual(self.count(sink, size, *options)["opened"], 7)
            with self.subTest("one a connection"):
                result = self.count(sink, 1024, "--per-connection", "1")
                self.assertGreaterEqual(result["opened"], result["total"])
            with self.subTest("one a connection, TLS"):
                self.count(sink, 1024, "--per-connection", "1", "--starttls")

    def test_stalls_are_counted(self):
        with Sink("--delay-ms", "40") as sink:
            run = load(sink.port, "--messages", "5")
            result = json.loads(run.stdout.splitlines()[-1])
            self.assertEqual(result["stalls"], 5)
            self.assertGreaterEqual(result["p50_us"], 39000)

    def test_the_end_of_a_message_is_found_anywhere(self):
        body = b"a\r\n..\r\n.b\r\r\n\n.\r\nc\r.\r\n.\n\r\n.\r\n"
        with Sink() as sink:
            for cut in range(len(body) + 1):
                with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as s:
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    replies = s.makefile("rb")
                    s.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
                    while not replies.readline().startswith(b"354"):
                        pass
                    s.sendall(body[:cut])
                    s.sendall(body[cut:] + b"NOOP\r\nQUIT\r\n")
                    self.assertEqual([line[:3] for line in replies.readlines()], [b"250", b"250", b"221"])
            self.assertEqual(sink.stat()["messages"], len(body) + 1)


class Fails(unittest.TestCase):
    def test_a_refusal(self):
        with Sink("--refuse-after", "10") as sink:
            run = load(sink.port, "--messages", "50")
            self.assertEqual(run.returncode, 1)
            self.assertIn("451 4.3.0 refused on demand", run.stderr)
            self.assertIn('"the final dot"', run.stderr)

    def test_no_tls_where_it_was_asked_for(self):
        with Sink() as sink:
            run = load(sink.port, "--starttls", "--messages", "1")
            self.assertEqual(run.returncode, 1)
            self.assertIn("no STARTTLS", run.stderr)

    def test_a_login_the_server_does_not_take(self):
        with Sink() as sink:
            run = load(sink.port, "--auth", "user:password", "--messages", "1")
            self.assertEqual(run.returncode, 1)
            self.assertIn('"AUTH"', run.stderr)
            self.assertNotIn("password", run.stderr)

    def test_a_server_that_hangs_up(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            child = subprocess.Popen([os.path.join(BENCH, "load"), "--port", str(server.getsockname()[1])],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
            server.accept()[0].close()
            _, errors = child.communicate(timeout=30)
            self.assertEqual(child.returncode, 1)
            self.assertIn("closed by the server", errors)


if __name__ == "__main__":
    unittest.main()
