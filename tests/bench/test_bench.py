#!/usr/bin/python3
"""The benchmark's own programs, tried on each other: they must count right, and must not stay silent when
something is wrong."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import governor_table  # noqa: E402
import queues  # noqa: E402
import spool_table  # noqa: E402
from governor_redis import Governor, Server  # noqa: E402
from procs import BenchError, Proc, signals_wait  # noqa: E402

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
        run = load(sink.port, "--messages", "300", "--ms", "50000", "--connections", "7", "--size", str(size),
                   *options)
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

    def test_times_of_the_first_mail_and_of_the_last_message(self):
        with Sink("--delay-ms", "40") as sink:
            self.assertEqual(sink.stat()["last_ns"], 0)
            began = time.monotonic_ns()
            run = json.loads(load(sink.port, "--messages", "5").stdout.splitlines()[-1])
            ended, last = time.monotonic_ns(), sink.stat()["last_ns"]
        self.assertLess(began, run["began_ns"])
        # the last of five arrives 40 ms four times after the first, and is answered 40 ms later
        self.assertGreaterEqual(last - run["began_ns"], 4 * 40_000_000)
        self.assertLess(last, ended - 39_000_000)

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


class Charges(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sendgov-bench-")
        self.server = Server(self.folder)
        self.governor = Governor(self.folder, os.path.join(BENCH, "governor"), self.server)
        self.governor.ask("begin 1")

    def tearDown(self):
        self.governor.stop()
        self.server.stop()
        shutil.rmtree(self.folder)

    def used(self, scope, instance):
        """Of the window that stands first in the counters of this instance: its total."""
        value = self.server.link.one("GET", f"sendgov:{{bench}}:s:{scope}:{instance}")
        return int.from_bytes(value[3 + 1 + value[3] + 18:][:8], "big")

    def test_all_is_charged(self):
        for line in ("raw charge 1 64 200 20", "raw charge 3 8 100 20", "raw charge 2 1 20 20", "store 3 8 100 20"):
            before = self.used(0, "contoso") if self.server.state_bytes(0)[1] else 0
            run = self.governor.ask(line)
            with self.subTest(line):
                self.assertEqual(self.used(0, "contoso") - before, run["ops"])
                self.assertGreater(run["server_ns"], 0)
                self.assertGreaterEqual(run["p99_us"], run["p50_us"])
        self.assertEqual(self.server.state_bytes(3)[1], 20)
        self.assertEqual(self.used(3, "sender-000007@contoso.com"), 420 / 20)
        self.assertEqual(self.server.without_end(), [])

    def test_what_is_compared_changes_no_counter(self):
        self.governor.ask("raw charge 1 8 20 20")
        before = self.used(0, "contoso")
        for what in ("touch", "states", "incr"):
            self.governor.ask(f"raw {what} 1 8 40 20")
        self.assertEqual(self.used(0, "contoso"), before)
        self.assertEqual(self.server.link.one("GET", "sendgov:{bench}:incr:3"), b"2")

    def test_counters_are_aged(self):
        self.governor.ask("raw charge 1 8 40 20")
        self.governor.ask("age 20 0 1")
        self.assertEqual(self.used(3, "sender-000007@contoso.com"), 65)
        self.governor.ask("age 20 1800000 1")
        self.governor.ask("raw charge 1 8 20 20")
        self.assertLess(self.used(3, "sender-000007@contoso.com"), 36)  # half an hour of it has gone by

    def test_what_is_not_granted_ends_it(self):
        self.server.link.one("HSET", "sendgov:{bench}:g", "p:0:contoso", "a 0 1 block-tenant - test")
        with self.assertRaisesRegex(BenchError, "not granted"):
            self.governor.ask("raw charge 1 8 20 20")


class ChargeTable(unittest.TestCase):
    def run_of(self, ms, server_ms):
        return {"ops": 1000, "wall_ns": ms * 1000000, "server_ns": server_ms * 1000000, "p50_us": 1, "p99_us": 2,
                "request_bytes": 500000, "reply_bytes": 50000}

    def test_medians_and_ratios_within_a_round(self):
        a, b = ("charge", 1, True), ("touch", 1, True)
        rounds = [{a: self.run_of(100, 80), b: self.run_of(50, 40)}, {a: self.run_of(300, 90), b: self.run_of(90, 30)},
                  {a: self.run_of(200, 100), b: self.run_of(20, 20)}]
        row = governor_table.summarise(rounds)[a]
        self.assertEqual((row["per_second"], row["cpu_us"], row["request_bytes"]), (5000, 90, 500))
        self.assertAlmostEqual(governor_table.ratio(rounds, a, b, "cpu_us"), 1 / 3)
        self.assertAlmostEqual(governor_table.ratio(rounds, a, b, "per_second"), 0.3)
        self.assertIsNone(governor_table.ratio(rounds, a, ("incr", 1, True), "cpu_us"))


PAGE = """\
# HELP sendgov_loop_stall_seconds Time one turn of the event loop took.
# TYPE sendgov_loop_stall_seconds histogram
sendgov_loop_stall_seconds_bucket{le="5e-05"} 900
sendgov_loop_stall_seconds_bucket{le="0.02"} 999
sendgov_loop_stall_seconds_bucket{le="0.025"} 1000
sendgov_loop_stall_seconds_bucket{le="+Inf"} 1000
sendgov_loop_stall_seconds_sum 1.5
sendgov_loop_stall_seconds_count 1000
sendgov_store_seconds_bucket{le="5e-05"} 7
sendgov_spool_messages{state="waiting"} 70
sendgov_spool_messages{state="in_flight"} 2
sendgov_spool_messages_other 100
sendgov_store_up 1
"""


class Histograms(unittest.TestCase):
    counts = {5e-05: 900, 0.02: 999, 0.025: 1000, float("inf"): 1000}

    def test_a_page_is_read(self):
        self.assertEqual(spool_table.histogram(PAGE, spool_table.STALL), self.counts)
        self.assertEqual(spool_table.histogram(PAGE, "sendgov_other"), {})

    def test_gauges_are_summed(self):
        self.assertEqual(spool_table.gauge_sum(PAGE, "sendgov_spool_messages"), 72)
        self.assertEqual(spool_table.gauge_sum(PAGE, "sendgov_store_up"), 1)
        self.assertEqual(spool_table.gauge_sum(PAGE, "sendgov_spool"), 0)

    def test_a_quantile_is_the_bound_that_holds_it(self):
        for quantile, bound in ((0.5, 5e-05), (0.9, 5e-05), (0.901, 0.02), (0.999, 0.02), (0.9991, 0.025),
                                (1, 0.025)):
            with self.subTest(quantile=quantile):
                self.assertEqual(spool_table.histogram_quantile(self.counts, quantile), bound)

    def test_none_counted_is_no_quantile(self):
        self.assertIsNone(spool_table.histogram_quantile({}, 0.5))
        self.assertIsNone(spool_table.histogram_quantile({1.0: 0, float("inf"): 0}, 0.5))

    def test_what_lies_beyond_all_bounds_is_not_hidden(self):
        self.assertEqual(spool_table.histogram_quantile({10.0: 1, float("inf"): 2}, 0.999), float("inf"))

    def test_only_what_was_counted_since(self):
        before = {0.02: 990, 0.025: 990, float("inf"): 990}
        self.assertEqual(spool_table.histogram_since(before, {0.02: 991, 0.025: 995, float("inf"): 995}),
                         {0.02: 1, 0.025: 5, float("inf"): 5})
        self.assertEqual(spool_table.histogram_since({}, self.counts), self.counts)

    def test_a_sum_is_of_each_bound(self):
        self.assertEqual(spool_table.histogram_sum([{1.0: 2, 2.0: 3}, {1.0: 5, 2.0: 5}]), {1.0: 7, 2.0: 8})


class SpoolTable(unittest.TestCase):
    @staticmethod
    def run_of(per_second):
        return {"per_second": per_second, "cpu_per_1000": 0.5, "p50_us": 1500, "p99_us": 2500}

    def results(self, pairs):
        return spool_table.summarise([{"postfix": self.run_of(postfix), "sendgov": self.run_of(sendgov)}
                                      for postfix, sendgov in pairs])

    def test_a_ratio_is_of_its_own_round(self):
        row = self.results([(100, 1000), (1000, 3000), (200, 1000)])["sendgov"]
        self.assertEqual(row["ratio"], 5)
        row = self.results([(100, 800), (400, 1200), (200, 400)])["sendgov"]
        self.assertEqual(row["ratio"], 3)  # not 4, which is that of the medians
        self.assertEqual((row["per_second"], row["least"], row["most"]), (800, 400, 1200))

    def test_no_ratio_without_postfix(self):
        self.assertNotIn("ratio", spool_table.summarise([{"sendgov": self.run_of(10)}])["sendgov"])
        self.assertNotIn("ratio", self.results([(1, 1)])["postfix"])

    def test_rows(self):
        head, postfix, sendgov = spool_table.rows({("accept", 200): self.results([(2000, 15000)])})
        self.assertIn("ratio", head)
        self.assertEqual(postfix.split(), "accepted, 200 connections postfix 2000 2000 2000 - 0.5000 1.50 "
                         "2.50".split())
        self.assertEqual(sendgov.split(), "sendgov 15000 15000 15000 7.50 0.5000 1.50 2.50".split())

    def test_aims(self):
        cells = {("accept", 50): self.results([(10, 49)]), ("accept", 200): self.results([(10, 50)]),
                 ("deliver", 50): self.results([(10, 50)])}
        stalls = {("accept", 50): {0.02: 999, 0.025: 1000, float("inf"): 1000},
                  ("accept", 200): {0.02: 998, 0.025: 1000, float("inf"): 1000}}
        lines = [line for line in spool_table.aims(cells, stalls) if line][1:]
        self.assertEqual([line.split("  ")[-1].strip() for line in lines],
                         ["BELOW THE FLOOR", "floor held", "goal reached", "goal reached", "BELOW THE FLOOR"])

    def test_nothing_measured_is_no_table_of_aims(self):
        self.assertEqual(list(spool_table.aims({("accept", 50): {"postfix": {}}}, {})), [])


class Ends(unittest.TestCase):
    def test_a_signal_waits_for_what_is_being_started(self):
        heard = []
        before = signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
        try:
            with signals_wait():
                os.kill(os.getpid(), signal.SIGTERM)
                self.assertEqual(heard, [])
            self.assertEqual(heard, [True])
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_a_child_hears_signals_and_is_on_record(self):
        with tempfile.TemporaryDirectory() as folder:
            proc = Proc(folder, "sleep", ["sleep", "60"])
            self.assertIs(Proc.started[-1], proc)
            proc.stop()
            self.assertEqual(proc.child.returncode, -signal.SIGTERM)


class Disk(unittest.TestCase):
    def kind(self, kind):
        with mock.patch("queues.subprocess.run", return_value=mock.Mock(stdout=kind + "\n")):
            return queues.file_system("/somewhere")

    def test_memory_is_no_disk(self):
        for kind in ("tmpfs", "ramfs"):
            with self.assertRaisesRegex(BenchError, kind):
                self.kind(kind)
        self.assertEqual(self.kind("xfs"), "xfs")

    def test_the_kind_is_asked_of_the_system(self):
        with self.assertRaises(subprocess.CalledProcessError):
            queues.file_system("/nonexistent")
        self.assertRegex(queues.file_system("/proc"), "proc")

    def test_a_fresh_folder_is_empty(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "incoming")
            queues.make_fresh_folder(path)
            self.assertEqual(os.listdir(path), [])


if __name__ == "__main__":
    unittest.main()
