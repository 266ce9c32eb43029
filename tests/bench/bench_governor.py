#!/usr/bin/python3
"""make bench-governor: what a charge costs Redis.

One private redis-server on a unix socket is asked for charges of 8 limits (windows, rates and a warm-up over
route, mailbox, client and sender): in the bytes the daemon would send, pipelined; through relay/store, by 1,
3 and 10 nodes; and one at a time. Beside it, in each round: (a) a script that reads and writes the same keys
and bytes and decides nothing, and (b) INCR. Besides ops/s the CPU time of the server's thread is taken, which
says how much one core of a shard can do however busy the rest of this machine is; ratios are within a round,
figures are medians over the rounds.

The senders are charged once each before, and what that takes of memory is told. A sender's counters are then
made what the cell needs: charged just now or half an hour ago, with one bucket in use or all of them. Every
answer but a grant ends the run, and so does a key without an end. No figure makes it fail.
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
from bench import busy_percent, machine, say  # noqa: E402
from governor_redis import Governor, Server  # noqa: E402
import governor_table as table  # noqa: E402
from procs import BenchError, signals_wait  # noqa: E402

IDLE_MS = 1800000
SCOPE_SENDER = 3
NODES = (1, 3, 10)


def parse_args():
    p = argparse.ArgumentParser(description="benchmark of the governor; see tests/bench/bench_governor.py")
    p.add_argument("--build", default=".", help="build folder: tests/bench/governor")
    p.add_argument("--quick", action="store_true", help="fewer senders, short rounds: about half a minute")
    p.add_argument("--rounds", type=int, help="default 5; --quick: 3")
    p.add_argument("--senders", type=int, help="default 100000; --quick: 10000")
    p.add_argument("--ops", type=int, help="charges of one run, default 10000; --quick: 2000")
    p.add_argument("--depth", type=int, default=64, help="how many are under way on a connection")
    p.add_argument("--minutes", type=float, default=15, help="no new round after that long")
    p.add_argument("--json", metavar="FILE", help="all figures of all rounds, and the costs scaling.py takes")
    p.add_argument("--keep", action="store_true", help="keep the folder with its logs")
    args = p.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 5)
    args.senders = args.senders or (10000 if args.quick else 100000)
    args.ops = min(args.ops or (2000 if args.quick else 10000), args.senders)
    return args


def raw(args, what, nodes=1, depth=None):
    return f"raw {what} {nodes} {depth or args.depth} {args.ops if depth != 1 else args.ops // 4} {args.senders}"


def store(args, nodes, depth, senders):
    return f"store {nodes} {depth} {args.ops if depth != 1 else args.ops // 4} {senders}"


def cells_of(args):
    """(what, nodes, pipelined), how the counters of the senders asked for are made before, and what is run.
    What is compared stands side by side."""
    fresh, full = (0, 0), (0, 1)
    yield ("charge", 1, True), fresh, raw(args, "charge")
    yield ("touch", 1, True), None, raw(args, "touch")
    yield ("states", 1, True), None, raw(args, "states")
    yield ("incr", 1, True), None, raw(args, "incr")
    yield ("charge-full", 1, True), full, raw(args, "charge")
    yield ("charge-idle", 1, True), (IDLE_MS, 0), raw(args, "charge")
    yield ("charge-idle-full", 1, True), (IDLE_MS, 1), raw(args, "charge")
    for nodes in NODES[1:]:
        yield ("charge", nodes, True), fresh, raw(args, "charge", nodes)
        yield ("touch", nodes, True), None, raw(args, "touch", nodes)
    for nodes in NODES:
        yield ("store", nodes, True), fresh, store(args, nodes, args.depth, args.senders)
    yield ("store-alike", 1, True), fresh, store(args, 1, args.depth, 1)
    for what in ("charge", "touch", "incr"):
        yield (what, 1, False), fresh, raw(args, what, depth=1)
    yield ("store", 1, False), fresh, store(args, 1, 1, args.senders)


def run_cell(args, governor, cell):
    _, state, line = cell
    if state is not None:
        governor.ask(f"age {args.ops} {state[0]} {state[1]}")
    return governor.ask(line)


def fill(args, server, governor):
    """Charges each sender for the first time. -> the run, and what it took of memory"""
    governor.ask("begin 1")
    governor.ask(f"raw charge 1 {args.depth} 1 1")
    before = server.used_bytes()
    first = governor.ask(f"raw charge 1 {args.depth} {args.senders} {args.senders}")
    after = server.used_bytes()
    usage, count = server.state_bytes(SCOPE_SENDER)
    if count != args.senders:
        raise BenchError(f"{args.senders} senders were charged, {count} have counters")
    return first, {"per_sender": (after - before) / args.senders, "usage_per_sender": usage,
                   "used_bytes": after, "senders": args.senders}


def run_rounds(args, governor):
    rounds, stop_at = [], time.monotonic() + args.minutes * 60
    for number in range(args.rounds):
        if number > 0 and time.monotonic() > stop_at:
            say(f"bench: out of time after {number} rounds")
            break
        rounds.append({cell[0]: run_cell(args, governor, cell) for cell in cells_of(args)})
        say(f"round {number + 1}: " + ", ".join(
            f"{what} {table.per_op(rounds[-1][what, 1, True])['cpu_us']:.1f} us"
            for what in ("charge", "touch", "charge-idle", "incr")))
    return rounds


def run_append_only(args, server, governor, rounds):
    """Last, because the file grows by a gigabyte in no time."""
    server.append_only()
    for one in rounds:
        for what in ("charge", "touch"):
            governor.ask(f"age {args.ops} 0 0")
            before = server.append_only_bytes()
            run = governor.ask(raw(args, what))
            run["aof_bytes"] = server.append_only_bytes() - before
            one[f"{what}-aof", 1, True] = run


def measure(args, folder, started):
    with signals_wait():
        server = Server(folder)
        started.append(server)
    with signals_wait():
        governor = Governor(folder, os.path.join(args.build, "tests", "bench", "governor"), server)
        started.append(governor)
    notes = [f"before and after the rounds others used {busy_percent():.0f} %"]
    first, memory = fill(args, server, governor)
    rounds = run_rounds(args, governor)
    for one in rounds:
        one["charge-first", 1, True] = first
    run_append_only(args, server, governor, rounds)
    endless = server.without_end()
    endless = [key for key in endless if b":incr:" not in key]  # (b) has no end, and is no key of ours
    if endless:
        raise BenchError(f"{len(endless)} keys have no end, one is {endless[0]!r}")
    notes[0] += f" and {busy_percent():.0f} % of the machine"
    return rounds, memory, notes


def report(args, rounds, memory, notes):
    results = table.summarise(rounds)
    charge = results["charge", 1, True]
    notes += [f"{machine()}; Redis and who asks share it",
              f"medians of {len(rounds)} rounds of {args.ops} charges, {args.senders} senders; up to {args.depth} "
              "under way on each connection",
              "per core/s: what the server's one thread can do, by its CPU time",
              f"a charge is {charge['request_bytes']:.0f} bytes to Redis and {charge['reply_bytes']:.0f} back, and "
              f"{results['charge-aof', 1, True]['aof_bytes']:.0f} in the append-only file",
              f"a sender takes {memory['per_sender']:.0f} bytes of Redis ({memory['usage_per_sender']:.0f} by MEMORY "
              f"USAGE); all {memory['senders']}: {memory['used_bytes'] / 1e6:.0f} MB",
              "every key has an end"]
    for line in [*table.rows(results), *table.aims(rounds, results), *(f"note: {note}" for note in notes)]:
        print(line)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"notes": notes, "costs": table.costs(results, memory), "memory": memory,
                       "cells": [{"what": c[0], "nodes": c[1], "pipelined": c[2], "median": results[c],
                                  "rounds": [r[c] for r in rounds if c in r]} for c in results]}, f, indent=1)


def main():
    args = parse_args()
    started, folder = [], tempfile.mkdtemp(prefix="sendgov-bench-")
    try:
        report(args, *measure(args, folder, started))
    except (BenchError, OSError, subprocess.SubprocessError) as e:
        say(f"bench: {e}")
        args.keep = True
        return 1
    finally:
        for one in reversed(started):
            one.stop()
        if args.keep:
            say(f"bench: kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
