#!/usr/bin/python3
"""The formulas of scaling.py: known answers, and that what is simulated agrees with them."""
import contextlib
import dataclasses
import io
import json
import math
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import governor_table  # noqa: E402
import scaling  # noqa: E402
from scaling import Assumptions, Costs  # noqa: E402

EVEN = Costs(charge_us=100.0, charge_idle_us=100.0, charge_first_us=100.0, charge_aof_us=100.0, request_bytes=900.0,
             reply_bytes=100.0, aof_bytes=4000.0, sender_bytes=1000.0)
PLAIN = Assumptions(peak_factor=4.0, charges_per_message=1.25, messages_per_sender=10.0, message_bytes=10000.0,
                    node_cpu_us=500.0, node_load=0.5, shard_load=0.7, heartbeat_us=0.0, first_share=0.0,
                    shard_bytes=1e9, copies=2)


class Needs(unittest.TestCase):
    def test_a_load_reckoned_by_hand(self):
        n = scaling.need(864e6, EVEN, PLAIN)  # 10 000 a second
        self.assertAlmostEqual(n["peak"], 40000)
        self.assertAlmostEqual(n["charges"], 50000)
        self.assertEqual(n["by_cpu"], 8)  # 5 busy cores at 0.7: 7.1
        self.assertEqual(n["by_memory"], 87)  # 86.4 million senders of 1000 bytes
        self.assertEqual(n["shards"], 87)
        self.assertEqual(n["nodes"], 174)  # two of each group
        self.assertAlmostEqual(n["load"], 5 / 87)
        self.assertAlmostEqual(n["memory_bytes"], 2 * 86.4e9)
        self.assertAlmostEqual(n["redis_bit"], 400e6)
        self.assertAlmostEqual(n["aof_bytes"], 50000 * 4000 / 87)
        self.assertAlmostEqual(n["smtp_bit"], 6.4e9)

    def test_busy_nodes(self):
        n = scaling.need(864e6, EVEN, dataclasses.replace(PLAIN, shard_bytes=1e12))
        self.assertEqual((n["shards"], n["nodes"]), (8, 40))  # 20 busy cores, at half load

    def test_two_nodes_at_least(self):
        n = scaling.need(1, EVEN, PLAIN)
        self.assertEqual((n["nodes"], n["shards"]), (2, 1))

    def test_what_a_charge_costs(self):
        costs = dataclasses.replace(EVEN, charge_idle_us=200.0, charge_first_us=500.0)
        busy = dataclasses.replace(PLAIN, messages_per_sender=86400.0, bucket_sec=1.0)
        self.assertAlmostEqual(scaling.charge_mean_us(costs, busy), 100 + 100 * math.exp(-1))
        self.assertAlmostEqual(scaling.charge_mean_us(costs, dataclasses.replace(PLAIN, messages_per_sender=0.0)), 200)
        first = dataclasses.replace(busy, first_share=0.1)
        self.assertAlmostEqual(scaling.charge_mean_us(costs, first), 50 + 0.9 * (100 + 100 * math.exp(-1)))
        self.assertAlmostEqual(sum(p for p, _ in scaling.service_of(costs, first)), 1)
        costs = dataclasses.replace(costs, charge_aof_us=110.0)
        self.assertAlmostEqual(scaling.charge_mean_us(costs, busy), 110 + 100 * math.exp(-1))

    def test_one_group_is_one_thread(self):
        self.assertAlmostEqual(scaling.group_per_second(EVEN, PLAIN), 0.7 * 10000 / 1.25)
        beats = dataclasses.replace(PLAIN, heartbeat_us=1000.0)
        self.assertAlmostEqual(scaling.group_per_second(EVEN, beats, nodes=100), 0.6 * 10000 / 1.25)
        self.assertEqual(scaling.group_per_second(EVEN, beats, nodes=1000), 0.0)

    def test_what_a_group_can_have_loads_one_shard(self):
        room = dataclasses.replace(PLAIN, shard_bytes=1e12)
        per_day = scaling.group_per_second(EVEN, room) / room.peak_factor * scaling.DAY_SEC
        self.assertEqual(scaling.need(per_day * 0.999, EVEN, room)["shards"], 1)
        self.assertEqual(scaling.need(per_day * 1.001, EVEN, room)["shards"], 2)


class Queue(unittest.TestCase):
    def test_one_price_for_all(self):
        self.assertAlmostEqual(scaling.mean_wait_us(0.5, [(1.0, 100.0)]), 50.0)
        self.assertAlmostEqual(scaling.mean_wait_us(0.9, [(1.0, 100.0)]), 450.0)
        # 0.5 (e^y - 1) = y
        self.assertAlmostEqual(scaling.decay_per_us(0.5, [(1.0, 100.0)]) * 100, 1.2564312, places=6)

    def test_two_prices(self):
        self.assertAlmostEqual(scaling.mean_wait_us(0.5, [(0.5, 50.0), (0.5, 150.0)]), 62.5)

    def test_what_few_services_exceed(self):
        self.assertEqual(scaling.quantile_of([(0.01, 166.0), (0.19, 80.0), (0.8, 70.0)], 0.99), 80.0)
        self.assertEqual(scaling.quantile_of([(0.02, 166.0), (0.98, 70.0)], 0.99), 166.0)

    def test_an_idle_shard_and_a_full_one(self):
        self.assertEqual(scaling.queue_p99_us(0.001, [(1.0, 100.0)]), 100.0)
        self.assertEqual(scaling.queue_p99_us(1.0, [(1.0, 100.0)]), math.inf)

    def test_what_is_simulated_agrees(self):
        for service in ([(1.0, 100.0)], [(0.7, 150.0), (0.3, 70.0)]):
            for load in (0.5, 0.8):
                with self.subTest(service=service, load=load):
                    wait, p99 = scaling.simulate(load, service, questions=60000)
                    self.assertAlmostEqual(wait / scaling.mean_wait_us(load, service), 1.0, delta=0.12)
                    self.assertAlmostEqual(p99 / scaling.queue_p99_us(load, service), 1.0, delta=0.12)

    def test_nodes_that_work_longer_smooth_what_comes(self):
        one_node = scaling.simulate(0.8, [(1.0, 100.0)], nodes=1, node_us=101.0, questions=20000)
        self.assertLess(one_node[0], 1e-6)  # what comes apart by more than a charge waits for nothing


class Input(unittest.TestCase):
    def test_what_the_benchmark_writes_is_read(self):
        row = {"cpu_us": 70.0, "request_bytes": 970.0, "reply_bytes": 55.0, "aof_bytes": 3500.0, "p50_us": 90}
        cells = [(what, 1, True) for what in governor_table.NAMES] + [("store", 1, False)]
        found = governor_table.costs({cell: row for cell in cells}, {"per_sender": 1200.0})
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"costs": found}, f)
            f.flush()
            self.assertEqual(scaling.read_costs(f.name), Costs(70.0, 70.0, 70.0, 70.0, 970.0, 55.0, 3500.0, 1200.0))

    def test_an_assumption_that_does_not_exist(self):
        for word in ("peak=3", "peak_factor"):
            with mock.patch("sys.argv", ["scaling.py", "--set", word]), self.assertRaises(SystemExit), \
                    contextlib.redirect_stderr(io.StringIO()):
                scaling.main()

    def test_the_table_has_four_rows(self):
        with mock.patch("sys.argv", ["scaling.py", "--set", "peak_factor=8"]), \
                contextlib.redirect_stdout(io.StringIO()) as out:
            scaling.main()
        self.assertEqual([line.split()[1] for line in out.getvalue().splitlines() if line.startswith("| 10^")],
                         ["10^6", "10^7", "10^8", "10^9"])
        self.assertIn("| 93 |", out.getvalue())  # of the first: 11.6 a second x 8


if __name__ == "__main__":
    unittest.main()
