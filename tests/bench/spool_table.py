"""What make bench-spool found, as text; and the histograms of a /metrics page."""
import re
from statistics import median

from table import verdict

STALL = "sendgov_loop_stall_seconds"
# What must be reached and what is aimed at, as ratio to Postfix. Printed beside what was measured, never
# asserted.
AIMS = [("accepted at 50 connections", ("accept", 50), 5, 10),
        ("accepted at 200 connections", ("accept", 200), 5, 10),
        ("delivered completely", ("deliver", 50), 5, 5)]
STALL_AIM_MS = 20.0


def histogram(page, name):
    """Of a family without labels: {upper bound in seconds: count up to it}."""
    found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\d+)$', page, re.MULTILINE)
    return {float(bound.replace("+Inf", "inf")): int(count) for bound, count in found}


def gauge_sum(page, name):
    """Of all label sets of a family; 0: it is not there."""
    return sum(int(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\d+)$", page, re.MULTILINE))


def histogram_since(before, after):
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def histogram_sum(histograms):
    total = {}
    for one in histograms:
        for bound, count in one.items():
            total[bound] = total.get(bound, 0) + count
    return total


def histogram_quantile(counts, quantile):
    """The bound below which that part of them lies; None: there are none. Never less than the truth."""
    bounds = sorted(counts)
    if not bounds or counts[bounds[-1]] == 0:
        return None
    return next(bound for bound in bounds if counts[bound] >= quantile * counts[bounds[-1]])


def cell_name(cell):
    what, connections = cell
    verb = "accepted" if what == "accept" else "delivered"
    return f"{verb}, {connections} connections"


def summarise(rounds):
    """rounds: of one cell, a list of {target: result}. -> {target: medians}."""
    out = {}
    for target in rounds[0]:
        runs = [r[target] for r in rounds]
        row = {key: median(run[key] for run in runs)
               for key in ("per_second", "cpu_per_1000", "p50_us", "p99_us")}
        row["least"], row["most"] = (f(run["per_second"] for run in runs) for f in (min, max))
        if "postfix" in rounds[0] and target != "postfix":
            row["ratio"] = median(r[target]["per_second"] / r["postfix"]["per_second"] for r in rounds)
        out[target] = row
    return out


def rows(results):
    yield (f"{'1 KB messages':30} {'target':8} {'msg/s':>8} {'least':>8} {'most':>8} {'ratio':>6} "
           f"{'CPU s/1000':>10} {'p50 ms':>8} {'p99 ms':>8}")
    for cell, targets in results.items():
        for i, (target, row) in enumerate(sorted(targets.items())):
            ratio = f"{row['ratio']:6.2f}" if "ratio" in row else "     -"
            yield (f"{cell_name(cell) if i == 0 else '':30} {target:8} {row['per_second']:8.0f} "
                   f"{row['least']:8.0f} {row['most']:8.0f} {ratio} {row['cpu_per_1000']:10.4f} "
                   f"{row['p50_us'] / 1000:8.2f} {row['p99_us'] / 1000:8.2f}")


def aims(results, stalls):
    """stalls: {cell: histogram of the turns of the loop}."""
    found = [(name, results[cell]["sendgov"]["ratio"], ">=", least, aim) for name, cell, least, aim in AIMS
             if "ratio" in results.get(cell, {}).get("sendgov", {})]
    for cell, counts in stalls.items():
        seconds = histogram_quantile(counts, 0.999)
        if seconds is not None:
            found.append((f"loop stall p99.9, ms: {cell_name(cell)}", seconds * 1000, "<=", STALL_AIM_MS,
                          STALL_AIM_MS))
    if found:
        yield ""
        yield f"{'sendgov beside Postfix (nothing fails by it)':50} {'measured':>9} {'floor':>8} {'goal':>8}"
    for name, value, sign, least, aim in found:
        yield (f"{name:50} {value:9.2f} {sign}{least:6.2f} {sign}{aim:6.2f}  "
               f"{verdict(value, sign, least, aim)}")
