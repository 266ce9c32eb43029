#!/usr/bin/python3
"""make bench: what stands between a client and the upstream, side by side in one run.

For each cell (message size x connections, plain or STARTTLS on both sides, many messages or one a
connection) and each round the targets run one after the other: direct (generator to sink), haproxy in TCP
mode, sendgovd with a private redis-server that charges every message, and with --postfix Postfix as a
before-queue proxy. Ratios are to the direct run of the same round, since the machine's speed wanders;
medians over the rounds. Every message is counted at the sink as well, and the run fails when a reply is
wrong or a count differs. No figure makes it fail.

Everything runs on 127.0.0.1 in a throw-away folder; only processes it started are ended.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from procs import BenchError, Direct, Haproxy, Postfix, Proc, Sink, need, rss_bytes  # noqa: E402
from sendgov import Sendgov  # noqa: E402
import table  # noqa: E402

TARGETS = {"direct": Direct, "haproxy": Haproxy, "postfix": Postfix, "sendgov": Sendgov}
IDLE = 1000
# size in KB, connections, STARTTLS, messages a connection (0: any number)
CELLS = [(size, connections, tls, 0)
         for tls in (False, True) for size in (1, 10, 100) for connections in (1, 50, 200)]
CELLS += [(1, 50, False, 1), (1, 50, True, 1)]
QUICK_CELLS = [(1, 1, False, 0), (1, 50, False, 0), (1, 200, False, 0), (10, 50, False, 0),
               (100, 50, False, 0), (1, 1, True, 0), (1, 50, True, 0), (100, 50, True, 0), (1, 50, False, 1),
               (1, 50, True, 1)]


def parse_args():
    p = argparse.ArgumentParser(description="benchmark of sendgovd; see tests/bench/bench.py")
    p.add_argument("--build", default=".", help="build folder: sendgovd, tests/bench/load, tests/bench/sink")
    p.add_argument("--sendgovd", help="another daemon than the build folder's")
    p.add_argument("--quick", action="store_true", help="fewer cells, three short rounds: about two minutes")
    p.add_argument("--rounds", type=int, help="default 5; --quick: 3")
    p.add_argument("--seconds", type=float, help="measured time of one run, default 1.5; --quick: 0.5")
    p.add_argument("--minutes", type=float, default=45, help="no new round after that long")
    p.add_argument("--targets", default="direct,haproxy,sendgov", help="which, in this order")
    p.add_argument("--postfix", action="store_true", help="also Postfix as a before-queue proxy")
    p.add_argument("--only", action="append", default=[], metavar="CELL",
                   help="SIZE_KB/CONNECTIONS[/tls][/one], may be repeated: only these cells")
    p.add_argument("--pool", type=int, default=50,
                   help="most upstream connections of sendgovd, default 50 (haproxy: one a client)")
    p.add_argument("--log-level", default="info",
                   help="of sendgovd; info, the default, writes one line a message, as usual")
    p.add_argument("--lockstep", action="store_true", help="the generator does not pipeline")
    p.add_argument("--no-memory", action="store_true", help="leave out the memory of idle connections")
    p.add_argument("--json", metavar="FILE", help="all figures of all rounds")
    p.add_argument("--keep", action="store_true", help="keep the folder with configurations and logs")
    return p.parse_args()


def parse_cell(text):
    parts = text.split("/")
    return (int(parts[0]), int(parts[1]), "tls" in parts[2:], 1 if "one" in parts[2:] else 0)


class Setup:
    """What all targets share: the folder, the certificate, the programs."""

    def __init__(self, args, parent=None):
        self.args = args
        self.folder = tempfile.mkdtemp(prefix="sendgov-bench-", dir=parent)
        os.chmod(self.folder, 0o755)  # Postfix's and sendgovd's users read here
        bench = os.path.join(args.build, "tests", "bench")
        self.load, self.sink = os.path.join(bench, "load"), os.path.join(bench, "sink")
        self.sendgovd = os.path.abspath(args.sendgovd or os.path.join(args.build, "sendgovd"))
        self.cert, self.key = os.path.join(self.folder, "cert.pem"), os.path.join(self.folder, "key.pem")
        subprocess.run([need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.key,
                        "-out", self.cert],
                       check=True, stderr=subprocess.DEVNULL, timeout=60)
        if os.geteuid() == 0:
            shutil.chown(self.key, "nobody")  # whom sendgovd runs as


class Run:
    """One run of the generator, with what the target used meanwhile."""

    def __init__(self, setup, target, options):
        self.target = target
        port = str(target.port("--starttls" in options))
        self.proc = Proc(setup.folder, "load", [setup.load, "--port", port, *options], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)

    def expect(self, word):
        line = self.proc.child.stdout.readline()
        if line.strip() != word:
            self.proc.child.wait(10)
            raise BenchError(f"{self.target.name}: the generator gave up:\n{self.proc.tail()}")

    def go(self):
        self.proc.child.stdin.write("go\n")
        self.proc.child.stdin.flush()

    def result(self):
        text = self.proc.child.stdout.readline()
        if self.proc.child.wait(30) != 0 or not text:
            raise BenchError(f"{self.target.name}: the generator gave up:\n{self.proc.tail()}")
        return json.loads(text)


def run_cell(setup, sink, target, cell):
    size, connections, tls, per_connection = cell
    seconds = setup.args.seconds
    options = ["--connections", str(connections), "--size", str(size * 1024), "--wait",
               "--per-connection", str(per_connection), "--warmup-ms", str(int(min(500, seconds * 300))),
               "--ms", str(int(seconds * 1000)),
               "--from", f"load@{'tls' if tls else 'plain'}.test"]
    options += ["--starttls"] * tls + ["--lockstep"] * setup.args.lockstep
    before = sink.messages()
    run = Run(setup, target, options)
    run.expect("ready")
    cpu, helper_cpu = target.cpu(), target.helper_cpu() if hasattr(target, "helper_cpu") else 0.0
    run.go()
    run.expect("measure")
    result = run.result()
    result["cpu_per_1000"] = (target.cpu() - cpu) / result["total"] * 1000
    result["helper_cpu_per_1000"] = 0.0
    if hasattr(target, "helper_cpu"):
        result["helper_cpu_per_1000"] = (target.helper_cpu() - helper_cpu) / result["total"] * 1000
    arrived = sink.messages() - before
    if arrived != result["total"]:
        raise BenchError(f"{target.name}: {result['total']} messages were acknowledged, "
                         f"{arrived} reached the sink")
    return result


def idle_memory(setup, target):
    """What one more greeted and idle connection costs: growth of the process by the second IDLE of them. The
    first IDLE use up what the heap had to spare."""
    held, sizes = [], []
    for _ in range(2):
        held.append(Run(setup, target, ["--connections", str(IDLE), "--idle"]))
        held[-1].expect("ready")
        sizes.append(rss_bytes(target.pid))
    for run in held:
        run.go()
        run.result()
    return (sizes[1] - sizes[0]) / IDLE


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_rounds(setup, sink, targets, cells):
    results = {cell: [] for cell in cells}
    stop_at = time.monotonic() + setup.args.minutes * 60
    for number in range(setup.args.rounds):
        if time.monotonic() > stop_at:
            say(f"bench: out of time after {number} rounds")
            break
        for cell in cells:
            row = {target.name: run_cell(setup, sink, target, cell) for target in targets}
            results[cell].append(row)
            say(f"round {number + 1}: {table.cell_name(cell):34} " +
                "  ".join(f"{name} {run['per_second']:.0f}/s" for name, run in row.items()))
    return results


def start_targets(setup, sink, started):
    names = setup.args.targets.split(",") + ["postfix"] * setup.args.postfix
    for name in dict.fromkeys(names):
        if name not in TARGETS:
            raise BenchError(f"no target {name}; there are {', '.join(TARGETS)}")
        started.append(TARGETS[name](setup, sink))
        started[-1].start()


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")
    return f"{os.cpu_count()} x {model}, Linux {os.uname().release}"


def busy_percent(seconds=1.0):
    """What others take of the machine while nothing of ours runs: a disturbed run should say so."""
    def ticks():
        with open("/proc/stat") as f:
            fields = [int(x) for x in f.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    total, idle = ticks()
    time.sleep(seconds)
    total_then, idle_then = ticks()
    return 100 - 100 * (idle_then - idle) / max(1, total_then - total)


def measure(setup, started):
    args = setup.args
    sink = Sink(setup.folder, setup.sink, setup.cert, setup.key)
    started.append(sink)
    targets = []
    try:
        start_targets(setup, sink, targets)
    finally:
        started.extend(targets)
    notes = [f"before and after the rounds others used {busy_percent():.0f} %"]
    memory = {}
    if not args.no_memory:
        memory = {t.name: idle_memory(setup, t) for t in targets if t.name in ("haproxy", "sendgov")}
    cells = [parse_cell(c) for c in args.only] or (QUICK_CELLS if args.quick else CELLS)
    rounds = run_rounds(setup, sink, targets, cells)
    notes[0] += f" and {busy_percent():.0f} % of the machine: what disturbs them lowers ratios most"
    return rounds, memory, notes


def report(args, rounds, memory, notes):
    results = {cell: table.summarise(runs) for cell, runs in rounds.items() if runs}
    manner = "in lockstep" if args.lockstep else "pipelines MAIL, RCPT, DATA"
    notes += [f"{machine()}; generator, sink, target and Redis share it",
              f"medians of {args.rounds} rounds of {args.seconds} s; the generator {manner}",
              f"sendgovd has up to {args.pool} upstream connections, haproxy one a client",
              "haproxy passes STARTTLS through unread; sendgov ends it and begins its own to the sink"]
    if "postfix" in args.targets or args.postfix:
        notes.append("Postfix has no TLS towards its filter: its STARTTLS figures are of one side only")
    table.print_all(results, memory, notes)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": machine(), "seconds": args.seconds, "idle_connection_bytes": memory,
                       "cells": [{"size_kb": c[0], "connections": c[1], "starttls": c[2],
                                  "one_per_connection": bool(c[3]), "median": results[c],
                                  "rounds": rounds[c]} for c in results]}, f, indent=1)


def main():
    args = parse_args()
    args.rounds = args.rounds or (3 if args.quick else 5)
    args.seconds = args.seconds or (0.5 if args.quick else 1.5)
    started, setup = [], Setup(args)
    try:
        report(args, *measure(setup, started))
    except (BenchError, subprocess.SubprocessError) as e:
        say(f"bench: {e}")
        args.keep = True
        return 1
    finally:
        for one in reversed(started):
            one.stop()
        if args.keep:
            say(f"bench: kept {setup.folder}")
        else:
            shutil.rmtree(setup.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
