"""Whole runs with the spool on, judged by the checkers from outside (spool_run.py says what a run is).

SENDGOV_SEED=n repeats one; SENDGOV_SEEDS=n makes so many of the randomised run, with everything that can happen in each;
SENDGOV_LONG=seconds offers mail for so long, and for each ten of them all of it happens once more.
"""
import asyncio
import os

import pytest

import checker
from rig import Rig
from spool_run import BINDING, SpoolRun, merged

SEED = int(os.environ.get("SENDGOV_SEED", 1))
SEEDS = int(os.environ.get("SENDGOV_SEEDS", 0))
LOAD_S = os.environ.get("SENDGOV_LONG")


def judge(run):
    run.finish()
    run.report()
    findings = run.findings()
    assert findings == [], f"seed {run.seed}: {len(findings)} findings\n" + "\n".join(findings[:20])


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, SEEDS)))
def test_everything_that_goes_wrong(seed):
    """In an order that the seed says."""
    with Rig(upstream_tls=False) as rig:
        run = SpoolRun(rig, 2 + seed % 2, float(LOAD_S or 4), seed=seed)
        happenings = [run.kill_a_node, run.stop_a_node, run.kill_redis, run.lose_redis, run.refuse_at_each_step, run.break_at_each_step,
                      run.block_and_resume, run.edit_a_cap, run.flush_scripts]
        if not SEEDS:
            happenings = [h for h in happenings if h not in (run.kill_redis, run.edit_a_cap, run.stop_a_node)]
        happenings *= max(1, int(LOAD_S or 0) // 10)
        run.random.shuffle(happenings)
        asyncio.run(run.go(*happenings))
        judge(run)


def test_the_cap_is_used_while_mail_waits():
    """Three nodes, of which one is killed and one is stopped: at least 95 % of what the cap allows, until the last has left."""
    with Rig(upstream_tls=False) as rig:
        run = SpoolRun(rig, 3, float(LOAD_S or 5), seed=SEED)
        asyncio.run(run.go(run.stop_a_node, run.kill_a_node))
        judge(run)
        assert checker.check_work(run.messages, run.caps[BINDING], run.begin_ns, run.last_offer_ns(), merged(run.outages)) == []
