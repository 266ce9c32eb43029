#!/usr/bin/python3
"""make bench-spool: acceptance onto stable storage and delivery from it, beside Postfix on the same disk.

Each round runs both, in turns of who begins; the ratio is of the same round, since the speed of machine and
disk wanders, and the table has medians over the rounds.

 accept   messages of 1 KB answered 250 a second, while nothing leaves: sendgovd's route is paused, Postfix
          puts them on hold; what was accepted piles up round by round. What leaves all the same makes the
          run worthless, and it says so.
 deliver  a fixed number of messages, from just before the first MAIL until the sink has the last; after all
          rounds of accept.

Both do all their syncs. Everything runs on 127.0.0.1 in a throw-away folder on a real disk; only processes
it started are ended.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench import Run, Setup, busy_percent, machine, say  # noqa: E402
from procs import ENDING, BenchError, Proc, Sink, wait_for  # noqa: E402
from queues import PostfixQueue, SpoolSendgov, file_system  # noqa: E402
import spool_table as table  # noqa: E402

TARGETS = {"postfix": PostfixQueue, "sendgov": SpoolSendgov}
CELLS = [("accept", 50), ("accept", 200), ("deliver", 50)]


def parse_args():
    p = argparse.ArgumentParser(description="benchmark of the durable spool; see tests/bench/bench_spool.py")
    p.add_argument("--build", default=".", help="build folder: sendgovd, sendgovctl, tests/bench/*")
    p.add_argument("--sendgovd", help="another daemon than the build folder's; sendgovctl lies beside it")
    p.add_argument("--folder", default="/var/tmp", help="on the disk to measure; default /var/tmp")
    p.add_argument("--quick", action="store_true", help="one short round: below a minute")
    p.add_argument("--rounds", type=int, help="default 5; --quick: 1")
    p.add_argument("--seconds", type=float, help="measured time of one acceptance, default 2; --quick: 1")
    p.add_argument("--messages", type=int, help="to deliver, default 4000; --quick: 2000")
    p.add_argument("--minutes", type=float, default=3, help="no new round after that long")
    p.add_argument("--targets", default="postfix,sendgov", help="which")
    p.add_argument("--accept", choices=("spool", "relay"), default="spool",
                   help="of sendgovd's client; relay is pass-through, with nothing on disk")
    p.add_argument("--only", action="append", default=[], metavar="CELL",
                   help="accept/CONNECTIONS or deliver/CONNECTIONS, may be repeated: only these cells")
    p.add_argument("--pool", type=int, default=50, help="most connections to the sink, of both; default 50")
    p.add_argument("--log-level", default="info", help="of sendgovd")
    p.add_argument("--json", metavar="FILE", help="all figures of all rounds")
    p.add_argument("--keep", action="store_true", help="keep the folder with configurations and logs")
    return p.parse_args()


def parse_cell(text):
    what, connections = text.split("/")
    if what not in ("accept", "deliver"):
        raise BenchError(f"no cell {text}: accept/CONNECTIONS or deliver/CONNECTIONS")
    return what, int(connections)


def start_run(setup, target, connections, *options):
    run = Run(setup, target, ["--connections", str(connections), "--size", "1024", "--wait",
                              "--from", "load@plain.test", *options])
    run.expect("ready")
    return run


def all_cpu(target):
    return target.cpu() + (target.helper_cpu() if hasattr(target, "helper_cpu") else 0.0)


def check_kept(target, expected):
    if target.kept() != expected:
        raise BenchError(f"{target.name}: {expected} acknowledged messages should be held, "
                         f"{target.kept()} are")


def run_accept(setup, sink, target, connections):
    seconds = setup.args.seconds
    target.hold()
    before, stalls = sink.messages(), loop_stalls(target)
    kept = target.kept()
    run = start_run(setup, target, connections, "--warmup-ms", str(int(min(500, seconds * 300))),
                    "--ms", str(int(seconds * 1000)))
    cpu = all_cpu(target)
    run.go()
    run.expect("measure")
    result = run.result()
    result["cpu_per_1000"] = (all_cpu(target) - cpu) / result["total"] * 1000
    result["loop_stalls"] = table.histogram_since(stalls, loop_stalls(target))
    if setup.args.accept == "spool" or target.name == "postfix":
        if sink.messages() != before:
            raise BenchError(f"{target.name}: {sink.messages() - before} messages left, none should")
        check_kept(target, kept + result["total"])
    return result


def run_deliver(setup, sink, target, connections):
    target.release()
    before = sink.messages()
    run = start_run(setup, target, connections, "--warmup-ms", "0", "--ms", "120000",
                    "--messages", str(setup.args.messages))
    cpu = all_cpu(target)
    run.go()
    run.expect("measure")
    result = run.result()
    wait_for(f"{target.name}, the last of {result['total']} messages at the sink",
             lambda: sink.messages() - before >= result["total"], 120)
    result["accepted_per_second"] = result["per_second"]
    result["per_second"] = result["total"] / (sink.stat()["last_ns"] - result["began_ns"]) * 1e9
    result["cpu_per_1000"] = (all_cpu(target) - cpu) / result["total"] * 1000
    if sink.messages() - before != result["total"]:
        raise BenchError(f"{target.name}: {result['total']} messages were acknowledged, "
                         f"{sink.messages() - before} reached the sink")
    return result


def loop_stalls(target):
    return table.histogram(target.metrics(), table.STALL) if hasattr(target, "metrics") else {}


def run_rounds(setup, sink, targets, cell, minutes):
    what, connections = cell
    run, rows = {"accept": run_accept, "deliver": run_deliver}[what], []
    stop_at = time.monotonic() + minutes * 60
    for number in range(setup.args.rounds):
        if time.monotonic() > stop_at:
            say(f"bench: {table.cell_name(cell)}: out of time after {number} rounds")
            break
        order = targets if number % 2 == 0 else targets[::-1]
        rows.append({target.name: run(setup, sink, target, connections) for target in order})
        say(f"round {number + 1}: {table.cell_name(cell):30} " +
            "  ".join(f"{name} {result['per_second']:.0f}/s" for name, result in sorted(rows[-1].items())))
    return rows


def syncs_per_second(folder, seconds=0.3):
    """What the disk does: 1 KB appended and synced, again and again, by one process."""
    path, n, began = os.path.join(folder, "sync"), 0, time.monotonic()
    with open(path, "wb", buffering=0) as f:
        while time.monotonic() - began < seconds:
            f.write(bytes(1024))
            os.fsync(f.fileno())
            n += 1
    elapsed = time.monotonic() - began
    os.unlink(path)
    return n / elapsed


def start_targets(setup, sink, started):
    targets = []
    for name in dict.fromkeys(setup.args.targets.split(",")):
        if name not in TARGETS:
            raise BenchError(f"no target {name}; there are {', '.join(TARGETS)}")
        targets.append(TARGETS[name](setup, sink))
        started.append(targets[-1])
        targets[-1].start()
    return targets


def measure(setup, started, kind):
    syncs = syncs_per_second(setup.folder)
    notes = [f"{machine()}; generator, sink, target and Redis share it; others used {busy_percent():.0f} %",
             f"queues on {kind}, where one process syncs 1 KB {syncs:.0f} times a second"]
    sink = Sink(setup.folder, setup.sink, setup.cert, setup.key)
    started.append(sink)
    targets = start_targets(setup, sink, started)
    cells = [parse_cell(c) for c in setup.args.only] or CELLS
    return {cell: run_rounds(setup, sink, targets, cell, setup.args.minutes / len(cells))
            for cell in cells}, notes


def report(args, rounds, notes):
    results = {cell: table.summarise(runs) for cell, runs in rounds.items()}
    stalls = {cell: table.histogram_sum(run["sendgov"]["loop_stalls"] for run in runs)
              for cell, runs in rounds.items() if cell[0] == "accept" and "sendgov" in runs[0]}
    notes += [f"medians of {max(map(len, rounds.values()))} rounds; {args.seconds} s of acceptance, "
              f"{args.messages} messages delivered over up to {args.pool} connections"]
    notes += ["sendgovd passed messages through: nothing of it was durable"] * (args.accept == "relay")
    for line in [*table.rows(results), *table.aims(results, stalls), *(f"note: {note}" for note in notes)]:
        print(line)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"notes": notes, "cells": [{"what": what, "connections": n, "median": results[what, n],
                                                  "rounds": rounds[what, n]} for what, n in results]},
                      f, indent=1)


def clean_up(setup, started, keep):
    """What was started ends whatever happened, and whoever is impatient."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    for one in started[::-1] + Proc.started[::-1]:
        try:
            one.stop()
        except (BenchError, OSError, subprocess.SubprocessError) as e:
            say(f"bench: {e}")
    if setup is not None and keep:
        say(f"bench: kept {setup.folder}")
    elif setup is not None:
        shutil.rmtree(setup.folder, ignore_errors=True)


def main():
    args = parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.seconds = args.seconds or (1 if args.quick else 2)
    args.messages = args.messages or (2000 if args.quick else 4000)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    started, setup = [], None
    try:
        kind = file_system(args.folder)
        setup = Setup(args, args.folder)
        report(args, *measure(setup, started, kind))
    except (BenchError, OSError, subprocess.SubprocessError) as e:
        say(f"bench: {e}")
        args.keep = True
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        clean_up(setup, started, args.keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
