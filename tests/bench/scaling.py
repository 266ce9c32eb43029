#!/usr/bin/python3
"""How many nodes, groups and shards a load takes, by the formulas of docs/scaling.md.

    scaling.py                                  the table for 10^6 to 10^9 messages a day
    scaling.py --costs FILE                     with the costs `make bench-governor` measured (BENCH_ARGS="--json FILE")
    scaling.py --queue                          the formula of the queue beside a simulation of it
    scaling.py --set peak_factor=6 --set ...    another assumption

A governor group is one hash slot, so one shard of a Redis Cluster, and of that its one thread. Groups are spread
over shards, nodes belong to one group each.
"""
import argparse
import dataclasses
import heapq
import json
import math
import random

DAY_SEC = 86400


@dataclasses.dataclass
class Costs:
    """Of one charge, as bench_governor.py writes them: microseconds of the shard's thread, bytes."""
    charge_us: float = 77.0        # the sender was charged in the same bucket before
    charge_idle_us: float = 80.0  # a bucket of the sender turns
    charge_first_us: float = 166.0  # the sender has no counters: it was silent for 26 h
    charge_aof_us: float = 81.0    # as charge_us, with an append-only file
    request_bytes: float = 979.0
    reply_bytes: float = 55.0
    aof_bytes: float = 3495.0
    sender_bytes: float = 1190.0


@dataclasses.dataclass
class Assumptions:
    peak_factor: float = 4.0          # the busiest second to the mean of the day
    charges_per_message: float = 1.2  # some are void, over or for a second class of recipients
    messages_per_sender: float = 10.0  # a day
    message_bytes: float = 10240.0
    node_cpu_us: float = 100.0        # of sendgovd's thread per message (make bench, 10 KB, STARTTLS: 73)
    node_load: float = 0.6            # busy at the peak, at most
    shard_load: float = 0.7
    first_share: float = 0.01         # of charges that are their sender's first
    bucket_sec: float = 56.3          # of the sender's shortest window, an hour
    heartbeat_us: float = 200.0       # each node, each second
    shard_bytes: float = 16e9         # memory of one shard
    copies: int = 2                   # master and replica


def service_of(costs, assume):
    """What a charge takes of the shard: [(probability, us)]. A sender's messages come by chance: none within a
    bucket's time with exp(-rate x time)."""
    turns = math.exp(-assume.messages_per_sender / DAY_SEC * assume.bucket_sec)
    disk_us = max(costs.charge_aof_us - costs.charge_us, 0.0)
    again = 1 - assume.first_share
    return [(assume.first_share, costs.charge_first_us + disk_us), (again * turns, costs.charge_idle_us + disk_us),
            (again * (1 - turns), costs.charge_us + disk_us)]


def charge_mean_us(costs, assume):
    return moments(service_of(costs, assume))[0]


def group_per_second(costs, assume, nodes=1):
    """The most messages a second one group can have: one thread, of which heartbeats take their part."""
    free = assume.shard_load - nodes * assume.heartbeat_us / 1e6
    return max(free, 0.0) * 1e6 / charge_mean_us(costs, assume) / assume.charges_per_message


def need(per_day, costs, assume):
    """What so many messages a day take. Nothing of it is rounded but what can only be had whole."""
    mean = per_day / DAY_SEC
    peak = mean * assume.peak_factor
    charges = peak * assume.charges_per_message
    charge_us = charge_mean_us(costs, assume)
    busy_nodes = peak * assume.node_cpu_us / 1e6 / assume.node_load
    senders = per_day / assume.messages_per_sender
    memory = senders * costs.sender_bytes
    by_cpu = math.ceil((charges * charge_us + busy_nodes * assume.heartbeat_us) / 1e6 / assume.shard_load)
    by_memory = math.ceil(memory / assume.shard_bytes)
    shards = max(by_cpu, by_memory)
    nodes = max(math.ceil(busy_nodes), 2 * shards)  # each group has two at least: one may fail
    load = (charges * charge_us + nodes * assume.heartbeat_us) / 1e6 / shards
    return {"peak": peak, "charges": charges, "nodes": nodes, "shards": shards, "by_cpu": by_cpu,
            "by_memory": by_memory, "load": load, "memory_bytes": memory * assume.copies,
            "redis_bit": charges * (costs.request_bytes + costs.reply_bytes) * 8,
            "aof_bytes": charges * costs.aof_bytes / shards, "smtp_bit": peak * assume.message_bytes * 8 * 2,
            "p99_ms": queue_p99_us(load, service_of(costs, assume)) / 1000}


# the queue at a shard: arrivals by chance, one server, first come first served -----------------------------------

def moments(service):
    return tuple(sum(p * us ** k for p, us in service) for k in (1, 2))


def mean_wait_us(load, service):
    """Pollaczek and Khinchine: what one waits before its turn."""
    first, second = moments(service)
    return load / first * second / (2 * (1 - load))


def decay_per_us(load, service):
    """The rate at which long waits become rare: the root > 0 of rate (E[e^(x S)] - 1) = x."""
    rate = load / moments(service)[0]

    def excess(x):
        return rate * (sum(p * math.exp(x * us) for p, us in service) - 1) - x
    low, high = 0.0, 1.0 / moments(service)[0]
    while excess(high) < 0:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if excess(middle) < 0:
            low = middle
        else:
            high = middle
    return high


def quantile_of(service, quantile):
    seen = 0.0
    for probability, us in sorted(service, key=lambda one: one[1]):
        seen += probability
        if seen >= quantile - 1e-9:
            return us
    return us


def queue_p99_us(load, service, quantile=0.99):
    """Of waiting and being served: P(wait > t) = C e^(-x t) for long t (Cramer and Lundberg), and on top the
    service that no more than the rest exceed, which errs on the dear side."""
    longest = quantile_of(service, quantile)
    if load >= 1:
        return math.inf
    if load <= 1 - quantile:  # so many do not wait at all
        return longest
    x = decay_per_us(load, service)
    rate = load / moments(service)[0]
    constant = (1 - load) / (rate * sum(p * us * math.exp(x * us) for p, us in service) - 1)
    return longest + max(math.log(constant / (1 - quantile)) / x, 0.0)


def simulate(load, service, nodes=10, node_us=120.0, questions=200000, seed=1):
    """Event by event: messages come by chance to nodes, each node works on one at a time and asks the shard when
    it has it ready; the shard decides one at a time. -> (mean wait, p99 from asking to the answer) in us"""
    rng = random.Random(seed)
    rate = load / moments(service)[0]
    events, waits, times = [], [], []
    node_free, shard_free = [0.0] * nodes, 0.0
    arrive, asks = 0, 1
    heapq.heappush(events, (rng.expovariate(rate), arrive, 0))
    while len(times) < questions:
        now, kind, node = heapq.heappop(events)
        if kind == arrive:
            node = rng.randrange(nodes)
            node_free[node] = max(node_free[node], now) + node_us
            heapq.heappush(events, (node_free[node], asks, node))
            heapq.heappush(events, (now + rng.expovariate(rate), arrive, 0))
        else:
            begins, draw = max(shard_free, now), rng.random()
            for probability, us in service:
                if draw < probability:
                    break
                draw -= probability
            shard_free = begins + us
            waits.append(begins - now)
            times.append(shard_free - now)
    warm = questions // 10
    times = sorted(times[warm:])
    return sum(waits[warm:]) / len(waits[warm:]), times[int(len(times) * 0.99)]


# what is printed ---------------------------------------------------------------------------------------------------

def power(per_day):
    return f"10^{round(math.log10(per_day))}"


def table(costs, assume):
    yield ("| messages a day | peak/s | nodes | charges/s | shards = groups (by CPU, by memory) | load of a shard | "
           "Redis memory, 2 copies | Redis network | append-only file of a shard | SMTP in and out | decision p99 |")
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for per_day in (1e6, 1e7, 1e8, 1e9):
        n = need(per_day, costs, assume)
        yield (f"| {power(per_day)} | {n['peak']:.0f} | {n['nodes']} | {n['charges']:.0f} | {n['shards']} "
               f"({n['by_cpu']}, {n['by_memory']}) | {n['load']:.2f} | {n['memory_bytes'] / 1e9:.1f} GB | "
               f"{n['redis_bit'] / 1e6:.1f} Mbit/s | {n['aof_bytes'] / 1e6:.1f} MB/s | "
               f"{n['smtp_bit'] / 1e9:.2f} Gbit/s | {n['p99_ms']:.2f} ms |")


def group_lines(costs, assume):
    for name, each in (("every charge turns a bucket", 0.0), ("as assumed", assume.messages_per_sender),
                       ("busy senders, 100 000 a day each", 1e5)):
        case = dataclasses.replace(assume, messages_per_sender=each)
        most = group_per_second(costs, case)
        millions = most / assume.peak_factor * DAY_SEC / 1e6
        yield (f"one group, {name}: {charge_mean_us(costs, case):.0f} us a charge, {most:.0f} messages/s, "
               f"{millions:.0f} million a day at a peak factor of {assume.peak_factor:g}")


def queue_table(costs, assume):
    service = service_of(costs, assume)
    yield "| load | mean wait, formula | simulated | p99 of a decision, formula | simulated |"
    yield "|---|---|---|---|---|"
    for load in (0.3, 0.5, 0.7, 0.8, 0.9):
        wait, p99 = simulate(load, service)
        yield (f"| {load} | {mean_wait_us(load, service):.0f} us | {wait:.0f} us | "
               f"{queue_p99_us(load, service):.0f} us | {p99:.0f} us |")


def read_costs(path):
    with open(path) as f:
        found = json.load(f)["costs"]
    return Costs(**{field.name: found[field.name] for field in dataclasses.fields(Costs)})


def main():
    p = argparse.ArgumentParser(description="nodes, groups and shards for a load; see docs/scaling.md")
    p.add_argument("--costs", metavar="FILE", help="what make bench-governor measured")
    p.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="an assumption")
    p.add_argument("--queue", action="store_true", help="the formula of the queue beside a simulation")
    args = p.parse_args()
    costs = read_costs(args.costs) if args.costs else Costs()
    known = {field.name for field in dataclasses.fields(Assumptions)}
    changes = dict(one.split("=", 1) for one in args.set if "=" in one)
    if len(changes) != len(args.set) or not changes.keys() <= known:
        p.error("--set takes one of " + ", ".join(sorted(known)) + ", = and a number, once each")
    assume = dataclasses.replace(Assumptions(), **{name: float(value) for name, value in changes.items()})
    for line in queue_table(costs, assume) if args.queue else [*table(costs, assume), "", *group_lines(costs, assume)]:
        print(line)


if __name__ == "__main__":
    main()
