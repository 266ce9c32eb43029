"""checker_spool: what the checker asks of nodes that keep mail: order, books, and that nothing leaves while nobody can decide.

Ledgers as in checker.py; an attempt also has "port": the listener of the node that was asked. And
    life      one life of a node: {"name", "port", "helo": how it greets the upstream, "begin_ns", "end_ns", "exact": it ended when there
              was nothing left to do, "notes": how many messages it called uncertain when it started,
              "metrics": {series: value} at its end, None when it was killed}
"""
import collections

from checker import SECOND_NS
from node import sum_series

RELAYED, QUEUED = " relayed as ", " queued as "


# 9: without a decision nothing leaves beyond what was charged before
def check_closed(messages, closed, lifetime_ns):
    """closed: [(begin, end)] in which there was no Redis; lifetime_ns: how long a charge taken before it may be used."""
    findings = []
    for begin, end in closed:
        late = [m for m in messages if m["mail_ns"][0] > begin + lifetime_ns and m["mail_ns"][1] < end]
        if late:
            findings.append(f"9 closed: {len(late)} messages offered without a decision, the last "
                            f"{(late[-1]['mail_ns'][0] - begin) / 1e9:.3f} s after Redis was gone")
    return findings


# first in, first out: of one sender and node nobody is overtaken by what came after his answer
def check_order(attempts, messages, helo, slack_ns=SECOND_NS, exempt=()):
    """Connections side by side may change the order of what is on its way at one time, and so may a limit that opens between two
    questions; so it is wrong when others overtake a message for longer than slack_ns. Recipients are of one message each; by them
    it is known of which message an offer was; one that ended before its first recipient may have been any of that sender's.
    helo: {port: how that node greets the upstream}. exempt: ids that had to wait for reasons of their own before they were offered."""
    first, unknown = {}, collections.Counter((m["helo"], m["sender"]) for m in messages if not m["rcpts"])
    for m in messages:
        for r in m["rcpts"]:
            lo, hi = first.get(r["to"], m["mail_ns"])
            first[r["to"]] = min(lo, m["mail_ns"][0]), min(hi, m["mail_ns"][1])
    lanes = collections.defaultdict(list)
    for a in attempts:
        if a["outcome"] == "2xx" and a["recipients"][0] in first and a["id"] not in exempt:
            lanes[a["port"], a["sender"]].append((a["begun_ns"], a["ended_ns"], *first[a["recipients"][0]], a["id"]))
    return [f for (port, sender), lane in lanes.items() for f in _overtaken(lane, slack_ns)[unknown[helo.get(port), sender]:]]


def _overtaken(lane, slack_ns):
    lane.sort(key=lambda row: row[2])
    findings = []
    for i, (_, ended, lo, _, message_id) in enumerate(lane):
        before = [hi for begun, _, _, hi, _ in lane[:i] if begun > ended and hi + slack_ns // 2 < lo]
        if before and max(before) - min(before) > slack_ns:
            span_s = (max(before) - min(before)) / 1e9
            findings.append(f"order: {message_id} was overtaken by {len(before)} others within {span_s:.1f} s")
    return findings


# 4: what a node sends twice it called uncertain before
def check_named(messages, named):
    """named: the ids, as the nodes give them, that a log called uncertain."""
    taken = collections.Counter((m["trace_id"], r["to"]) for m in messages if m["accepted"] for r in m["rcpts"]
                                if (r["reply"] or "").startswith("2"))
    return [f"4 duplicates: {i} went to {to} {n} times, and no log called it uncertain"
            for (i, to), n in taken.items() if i is not None and n > 1 and i not in named]


# 10: the metrics are the ledgers
def check_books(attempts, messages, lives):
    findings = []
    for life in lives:
        if life["metrics"] is None:
            continue
        for what, book, least, most in _entries(attempts, messages, life):
            if book > most or (life["exact"] and book < least):
                findings.append(f"10 books: {life['name']}: {what} is {book:g}, by the ledgers {least} to {most}")
    return findings


def _entries(attempts, messages, life):
    """(what, as the node says, least and most as the ledgers say)."""
    told = [a for a in attempts if a["port"] == life["port"] and life["begin_ns"] <= a["begun_ns"] and a["ended_ns"] <= life["end_ns"]]
    offered = [m for m in messages if m["helo"] == life["helo"] and life["begin_ns"] <= m["mail_ns"][0] <= life["end_ns"]]
    return [*_entries_of_clients(told, life), *_entries_upstream(told, offered, attempts, life)]


def _entries_of_clients(told, life):
    unsure = sum(a["outcome"] == "lost" for a in told)
    for outcome, word in (("relayed", RELAYED), ("spooled", QUEUED)):
        n = sum(a["outcome"] == "2xx" and word in a["reply"] for a in told)
        yield f"messages {outcome}", sum_series(life["metrics"], "sendgov_messages_total", outcome=outcome), n, n + unsure
    refused = sum(sum_series(life["metrics"], "sendgov_messages_total", outcome=o) for o in ("deferred", "rejected", "uncertain"))
    n = sum(a["outcome"] in ("4xx", "5xx") and not a["reply"].startswith("421") for a in told)
    yield "messages refused", refused, 0, n + unsure  # those without a recipient are none
    n = sum(len(a["recipients"]) for a in told if a["outcome"] == "2xx")
    kept = sum(sum_series(life["metrics"], "sendgov_recipients_total", outcome=o) for o in ("relayed", "spooled"))
    yield "recipients relayed and spooled", kept, n, n + sum(len(a["recipients"]) for a in told if a["outcome"] == "lost")


def _entries_upstream(told, offered, attempts, life):
    taken = [m for m in offered if m["accepted"] and m["told"]]
    n = sum((r["reply"] or "").startswith("2") for m in taken for r in m["rcpts"])
    gone = sum(sum_series(life["metrics"], "sendgov_recipients_total", outcome=o) for o in ("relayed", "delivered"))
    yield "recipients relayed and delivered", gone, n, n
    live = {a["reply"].split(RELAYED)[1].split(";")[0] for a in attempts if a["outcome"] == "2xx" and RELAYED in a["reply"]}
    rows = {m["trace_id"] or m["message_id"] for m in taken} - live
    yield ("messages delivered", sum_series(life["metrics"], "sendgov_released_total", outcome="delivered"),
           len(rows) - sum(a["outcome"] == "lost" for a in attempts), len(rows))
    refused = sum((r["reply"] or "").startswith("550 5.1.1") for m in offered for r in m["rcpts"])
    refused -= sum(a["outcome"] == "5xx" for a in told)
    yield "messages failed", sum_series(life["metrics"], "sendgov_released_total", outcome="failed"), refused, refused
    lost = sum("dot_ns" in m and not m["told"] for m in offered) + life["notes"]
    lost_in_body = sum("dot_ns" not in m and (m.get("data_reply") or "").startswith("354") for m in offered)  # the dot may have left
    yield "uncertain", sum_series(life["metrics"], "sendgov_uncertain_total"), lost, lost + lost_in_body
