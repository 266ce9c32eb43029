"""What make bench-governor found, as text and as input of scaling.py."""
from statistics import median

from table import verdict

# Of what is pipelined, in CPU time of the server's thread, which others on the machine disturb least; and
# of single questions. Printed beside what was measured, never asserted.
RATIO_FLOOR = 0.5
LATENCY_AIM_MS = 0.12
NAMES = {
    "charge": "charge",
    "charge-full": "charge, full windows",
    "charge-idle": "charge, sender idle for 30 min",
    "charge-idle-full": "the same, full windows",
    "charge-first": "first charge of a sender",
    "store": "charge by relay/store",
    "store-alike": "the same, all messages alike",
    "touch": "(a) same keys and bytes, no logic",
    "states": "    of it GET + SET of the counters",
    "incr": "(b) INCR",
    "charge-aof": "charge, append-only file",
    "touch-aof": "(a), append-only file",
}


def per_op(run):
    ops = run["ops"]
    return {"per_second": ops * 1e9 / run["wall_ns"], "cpu_us": run["server_ns"] / ops / 1000,
            "p50_us": run["p50_us"], "p99_us": run["p99_us"], "request_bytes": run["request_bytes"] / ops,
            "reply_bytes": run["reply_bytes"] / ops, "aof_bytes": run.get("aof_bytes", 0) / ops}


def summarise(rounds):
    """rounds: a list of {cell: run}. -> {cell: medians}."""
    out = {}
    for cell in rounds[0]:
        runs = [per_op(r[cell]) for r in rounds if cell in r]
        out[cell] = {key: median(run[key] for run in runs) for key in runs[0]}
    return out


def ratio(rounds, first, second, key):
    """Of first to second, both of the same round; of "cpu_us" the inverse, so that more is better."""
    pairs = [(per_op(r[first])[key], per_op(r[second])[key]) for r in rounds if first in r and second in r]
    if not pairs:
        return None
    return median(b / a if key == "cpu_us" else a / b for a, b in pairs)


def rows(results):
    yield (f"{'8 limits of 4 scopes':52} {'nodes':>5} {'ops/s':>9} {'CPU us':>8} {'per core/s':>10} "
           f"{'p50 ms':>8} {'p99 ms':>8}")
    for (what, nodes, pipelined), row in results.items():
        name = NAMES[what] + ("" if pipelined else ", one at a time")
        times = "       -        -" if pipelined else f"{row['p50_us'] / 1000:8.3f} {row['p99_us'] / 1000:8.3f}"
        yield (f"{name:52} {nodes:5} {row['per_second']:9.0f} {row['cpu_us']:8.1f} "
               f"{1e6 / row['cpu_us']:10.0f} {times}")


def aims(rounds, results):
    charge, touch = ("charge", 1, True), ("touch", 1, True)
    yield ""
    yield f"{'charge beside (a) and its aims (nothing fails by them)':58} {'measured':>9} {'goal':>7}"
    found = [("charges per (a), CPU time of the server", ratio(rounds, charge, touch, "cpu_us"), ">=", RATIO_FLOOR),
             ("charges per (a), wall time", ratio(rounds, charge, touch, "per_second"), ">=", RATIO_FLOOR)]
    for what in ("store", "charge"):
        if (what, 1, False) in results:
            found.append((f"{NAMES[what]}, one at a time, p50 ms", results[what, 1, False]["p50_us"] / 1000, "<=",
                          LATENCY_AIM_MS))
    full = ratio(rounds, ("charge-full", 1, True), charge, "cpu_us")
    if full is not None:
        found.append(("full windows per fresh ones, CPU time", full, ">=", 0.9))
    for name, value, sign, aim in found:
        if value is not None:
            yield f"{name:58} {value:9.3f} {sign}{aim:5.2f}  {verdict(value, sign, aim, aim)}"


def costs(results, memory):
    """What scaling.py takes; microseconds of the server's thread and bytes."""
    charge = results["charge", 1, True]
    return {
        "charge_us": charge["cpu_us"],
        "charge_idle_us": results["charge-idle", 1, True]["cpu_us"],
        "charge_first_us": results["charge-first", 1, True]["cpu_us"],
        "charge_alike_us": results["store-alike", 1, True]["cpu_us"],
        "charge_aof_us": results["charge-aof", 1, True]["cpu_us"],
        "touch_us": results["touch", 1, True]["cpu_us"],
        "incr_us": results["incr", 1, True]["cpu_us"],
        "request_bytes": charge["request_bytes"],
        "reply_bytes": charge["reply_bytes"],
        "aof_bytes": results["charge-aof", 1, True]["aof_bytes"],
        "sender_bytes": memory["per_sender"],
        "decision_p50_us": results["store", 1, False]["p50_us"],
    }
