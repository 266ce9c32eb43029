"""What the benchmark found, as text."""
from statistics import median

# What must be reached, and what is aimed at. Printed beside what was measured, never asserted.
AIMS = [
    ("1 KB, 50 connections", "ratio", (1, 50, False, 0), ">=", 0.20, 0.35),
    ("100 KB, 50 connections", "ratio", (100, 50, False, 0), ">=", 0.30, 0.40),
    ("1 KB, one message a connection", "ratio", (1, 50, False, 1), ">=", 0.25, 0.35),
    ("1 KB, 50 connections, STARTTLS on both sides", "ratio", (1, 50, True, 0), ">=", 0.20, 0.30),
    ("CPU s per 1000 messages of 1 KB", "cpu_per_1000", (1, 50, False, 0), "<=", 0.08, 0.05),
    ("added p50 at one connection, ms", "added_p50_ms", (1, 1, False, 0), "<=", 0.25, 0.15),
]
MEMORY_AIM = (8.0, 5.0)


def cell_name(cell):
    size, connections, tls, per_connection = cell
    text = f"{size} KB x {connections}" + (" STARTTLS" if tls else "")
    return text + (", 1 a connection" if per_connection else "")


def summarise(rounds):
    """rounds: of one cell, a list of {target: result}. -> {target: medians}."""
    out = {}
    for target in rounds[0]:
        runs = [r[target] for r in rounds if target in r]
        row = {key: median(run[key] for run in runs) for key in ("per_second", "p50_us", "p99_us")}
        row["stalls"] = sum(run["stalls"] for run in runs)
        row["messages"] = sum(run["messages"] for run in runs)
        for key in ("cpu_per_1000", "helper_cpu_per_1000"):
            row[key] = median(run[key] for run in runs)
        if all("direct" in r for r in rounds):
            row["ratio"] = median(r[target]["per_second"] / r["direct"]["per_second"] for r in rounds)
            row["added_p50_ms"] = median(r[target]["p50_us"] - r["direct"]["p50_us"] for r in rounds) / 1000
        out[target] = row
    return out


def print_rows(results):
    print(f"{'messages x connections':34} {'target':8} {'msg/s':>9} {'ratio':>6} {'CPU s/1000':>10} "
          f"{'p50 ms':>8} {'p99 ms':>8} {'>35 ms':>7}")
    for cell, targets in results.items():
        for i, (target, row) in enumerate(targets.items()):
            ratio = f"{row['ratio']:6.3f}" if "ratio" in row else "     -"
            cpu = f"{row['cpu_per_1000']:10.4f}" if target != "direct" else "         -"
            print(f"{cell_name(cell) if i == 0 else '':34} {target:8} {row['per_second']:9.0f} {ratio} {cpu} "
                  f"{row['p50_us'] / 1000:8.3f} {row['p99_us'] / 1000:8.3f} {row['stalls']:7d}")


def verdict(value, sign, least, aim):
    def ok(bound):
        return value >= bound if sign == ">=" else value <= bound
    return "goal reached" if ok(aim) else "floor held" if ok(least) else "BELOW THE FLOOR"


def print_aims(results, memory):
    rows = [(name, results[cell]["sendgov"][key], sign, least, aim)
            for name, key, cell, sign, least, aim in AIMS
            if cell in results and "sendgov" in results[cell] and key in results[cell]["sendgov"]]
    if "sendgov" in memory:
        rows.append(("memory of an idle plain connection, KB", memory["sendgov"] / 1024, "<=", *MEMORY_AIM))
    if rows:
        print(f"\n{'sendgov against its aims (nothing fails by them)':50} "
              f"{'measured':>9} {'floor':>8} {'goal':>8}")
    for name, value, sign, least, aim in rows:
        print(f"{name:50} {value:9.3f} {sign}{least:6.2f} {sign}{aim:6.2f}  "
              f"{verdict(value, sign, least, aim)}")


def print_all(results, memory, notes):
    print_rows(results)
    if memory:
        print("\nmemory of an idle plain connection: " +
              ", ".join(f"{name} {size / 1024:.1f} KB" for name, size in memory.items()))
    helpers = {cell: row["sendgov"]["helper_cpu_per_1000"] for cell, row in results.items()
               if "sendgov" in row}
    if helpers:
        print("CPU s per 1000 messages of redis-server: " +
              ", ".join(f"{cell_name(cell)} {cpu:.4f}" for cell, cpu in helpers.items()
                        if cell[0] == 1 and cell[1] == 50))
    print_aims(results, memory)
    for note in notes:
        print(f"note: {note}")
