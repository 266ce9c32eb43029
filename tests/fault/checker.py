"""checker: judges a run from outside, by ledgers alone.

It knows what clients sent and were told, what the upstream saw, which caps were in force when, and how the processes ended; nothing of
the program's inside. Each check gives a list of findings, one line each; an empty list means that the invariant held.

Ledgers
    attempt   one try of a client to send one message: {"id": Message-ID, "sender", "recipients", "sha256", "begun_ns",
              "ended_ns", "outcome": "2xx" | "4xx" | "5xx" | "lost", "after_dot": bool, "reply",
              "dialog": [[command, reply], ...], "extra": text that came unasked}
    message   a row of the upstream's ledger (tests/lib/m365/ledger.py)
    Cap       a limit as configured, with its history
    end       how a process ended: {"name", "status", "asked": [statuses that were asked for], "log": text}

Times are monotonic nanoseconds of one machine. An arrival upstream is an interval [lo, hi]; it is counted against a cap only
where it must lie inside, so a finding is always real.
"""
import bisect
import collections
import dataclasses
import itertools
import re

SECOND_NS = 1_000_000_000
ENHANCED = re.compile(r"^(\d)\d\d[ -](\d)\.\d{1,3}\.\d{1,3}(?:\s|$)")
BLOCK = re.compile(r"^5\d\d[ -;]5\.7\.708\b")
SANITIZER = re.compile(r"(ERROR: (?:Address|Leak|Thread|Memory)Sanitizer|runtime error:|AddressSanitizer:|sg_assert)")


@dataclasses.dataclass
class Cap:
    """At most `value` of `unit` in every interval of `period_ns`, over the messages that `covers` says."""
    name: str
    period_ns: int
    unit: str                                  # messages, recipients, external
    history: list                              # [(from_ns, value), ...], ascending; the first holds from the beginning
    covers: object = lambda message: True
    internal_domains: tuple = ()

    def weight(self, message):
        if self.unit == "messages":
            return 1
        if self.unit == "recipients":
            return len(message["rcpts"])
        return sum(1 for r in message["rcpts"] if r["to"].rpartition("@")[2].lower() not in self.internal_domains)

    def most_within(self, begin_ns, end_ns):
        """The highest value in force at any time of the interval."""
        best = 0
        for i, (since, value) in enumerate(self.history):
            until = self.history[i + 1][0] if i + 1 < len(self.history) else None
            if (i == 0 or since < end_ns) and (until is None or until > begin_ns):
                best = max(best, value)
        return best


# 1: never over, in every interval of the limit's length
def check_cap(messages, cap):
    """In n log n: what lies within an interval is what ended before its end, without what began before its beginning."""
    arrivals = ((m["mail_ns"][0], m["mail_ns"][1], cap.weight(m)) for m in messages if cap.covers(m))
    events = sorted((lo, hi, n if hi - lo < cap.period_ns else 0) for lo, hi, n in arrivals)  # a longer one is in no interval for certain
    by_end = sorted((hi, n) for _, hi, n in events)
    ends, sums = [hi for hi, _ in by_end], [0, *itertools.accumulate(n for _, n in by_end)]
    findings, worst, before = [], 0, 0
    for begin, _, n in events:
        end = begin + cap.period_ns
        used = sums[bisect.bisect_left(ends, end)] - before
        before += n
        allowed = cap.most_within(begin, end)
        if used > allowed and used - allowed > worst:
            worst = used - allowed
            findings = [f"1 cap {cap.name}: {used} {cap.unit} in {cap.period_ns / 1e9:g} s from {begin}, cap {allowed}"]
    return findings


# 2: a 2xx means that the upstream took it, or that it waits in the spool, or that its failure was reported
def check_no_loss(attempts, messages, spooled=(), reported=()):
    """spooled, reported: (id, recipient) of what is still in a spool, and of what a notification or the log called undeliverable."""
    known = set(_taken(messages)) | set(spooled) | set(reported)
    return [f"2 loss: {a['id']} was told {a['reply']!r} and never arrived upstream for {to}"
            for a in attempts if a["outcome"] == "2xx" for to in a["recipients"] if (a["id"], to) not in known]


# 3: a 4xx or 5xx means that the upstream did not take it, uncertain ends apart
def check_no_lie(attempts, messages, uncertain=(), reports=()):
    """uncertain: Counter of ids: how often the node said that it could not know whether the upstream took it.
    reports: ids of the notifications that the nodes made themselves."""
    told = collections.Counter(a["id"] for a in attempts if a["outcome"] == "2xx")
    open_ends = collections.Counter(a["id"] for a in attempts if a["outcome"] == "lost" and a["after_dot"])
    known = {a["id"] for a in attempts} | set(reports)
    findings = []
    for (message_id, to), taken in _taken(messages).items():
        unsure = sum(1 for m in taken if not m["told"])
        if message_id not in known:
            findings.append(f"3 lie: {message_id} arrived upstream and no client sent it")
        elif message_id not in reports and \
                len(taken) > told[message_id] + open_ends[message_id] + unsure + dict(uncertain).get(message_id, 0):
            findings.append(f"3 lie: {message_id} was taken upstream {len(taken)} times for {to}, its clients were told "
                            f"2xx {told[message_id]} times")
    return findings


# 3: what is reported as failed was refused for good, and nobody took it
def check_reports(messages, reported):
    """reported: as for check_no_loss."""
    refused = {to for m in messages for r in m["rcpts"] for to in [r["to"]] if _is_refused_for_good(m, r)}
    taken = _taken(messages)
    findings = [f"3 lie: {i} was reported as failed for {to}, whom the upstream never refused" for i, to in reported if to not in refused]
    return findings + [f"3 lie: {i} was reported as failed for {to}, and the upstream took it" for i, to in reported if (i, to) in taken]


def _is_refused_for_good(message, rcpt):
    replies = [rcpt["reply"] or "", message.get("mail_reply") or "", message.get("data_reply") or "", message.get("reply") or ""]
    return any(r.startswith("5") and not BLOCK.match(r) for r in replies)


# 4: copies <= 1 + connections broken between the last body byte and the complete reply + kills while it was on its way
def check_duplicates(attempts, messages, uncertain=()):
    """uncertain: as for check_no_lie; a node that was killed says so of each message it had in flight."""
    broken = collections.Counter(a["id"] for a in attempts if a["outcome"] == "lost" and a["after_dot"])
    untold = collections.Counter(m.get("message_id") for m in messages if not m["told"])
    findings = []
    for (message_id, to), taken in _taken(messages).items():
        allowed = 1 + broken[message_id] + dict(uncertain).get(message_id, 0) + untold[message_id]
        if len(taken) > allowed:
            findings.append(f"4 duplicates: {message_id} was taken {len(taken)} times for {to}, {allowed} can be explained")
    return findings


# 5: the bytes below our trace header are the client's
def check_bytes(attempts, messages):
    sent = {a["id"]: a["sha256"] for a in attempts}
    return [f"5 bytes: {m['message_id']} arrived changed"
            for m in messages if m["accepted"] and m["message_id"] in sent
            and sent[m["message_id"]] not in (m["sha256_below_trace"], m["sha256"])]


# 7: after a block nothing external leaves, on any node, later than one second
def check_pause(messages, internal_domains, resumed_ns=()):
    findings = []
    for said in sorted(t for m in messages for t in [_block_time(m)] if t is not None):
        resumed = min((t for t in resumed_ns if t > said), default=None)
        for m in messages:
            late = m["mail_ns"][0] > said + SECOND_NS and (resumed is None or m["mail_ns"][1] < resumed)
            if late and any(r["to"].rpartition("@")[2].lower() not in internal_domains for r in m["rcpts"]):
                findings.append(f"7 pause: external mail offered {(m['mail_ns'][0] - said) / 1e9:.3f} s after a block")
                break
    return findings


def _block_time(message):
    """When the upstream said 5.7.708 in this transaction; None: it did not."""
    replies = [message.get(k) or "" for k in ("mail_reply", "data_reply", "reply")] + [r["reply"] or "" for r in message["rcpts"]]
    if any(BLOCK.match(line) for reply in replies for line in reply.split("\n")):
        return message["said_ns"]
    return None


def used_share(messages, cap, begin_ns, end_ns, outages=()):
    """How much of what the cap allows was offered, as a fraction; outages [(begin, end)] do not count as time.

    The lower of two figures: over the whole time (which forgives a late start of the last burst, for the first one is free),
    and over whole caps: k * N offers took no longer than k windows.
    """
    events = sorted((m["mail_ns"][0], cap.weight(m)) for m in messages if cap.covers(m) and begin_ns <= m["mail_ns"][0] < end_ns)
    n = cap.most_within(begin_ns, end_ns)

    def share(used, since, until):
        lost = sum(max(0, min(e, until) - max(b, since)) for b, e in outages)
        return used * cap.period_ns / (n * (until - since - lost))
    whole = share(sum(w for _, w in events), begin_ns, end_ns)
    seen, at_whole_caps = 0, []
    for at, weight in events:
        seen += weight
        while len(at_whole_caps) * n < seen:  # one with several recipients may pass the end of a cap
            at_whole_caps.append(at)
    if len(at_whole_caps) < 2:
        return whole
    return min(whole, share((len(at_whole_caps) - 1) * n, at_whole_caps[0], at_whole_caps[-1]))


# 13: work conserving
def check_work(messages, cap, begin_ns, end_ns, outages=(), least=0.95):
    share = used_share(messages, cap, begin_ns, end_ns, outages)
    return [] if share >= least else [f"13 work: {share:.1%} of cap {cap.name} was used, {least:.0%} is the least"]


# 14: processes end only when they are told to, and sanitizers stay silent
def check_alive(ends):
    findings = []
    for end in ends:
        if end["status"] is not None and end["status"] not in end["asked"]:
            findings.append(f"14 alive: {end['name']} ended with {end['status']}, asked for {end['asked']}")
        found = SANITIZER.search(end["log"])
        if found:
            findings.append(f"14 alive: {end['name']}: {end['log'][found.start():found.start() + 300]!r}")
    return findings


# 15: one reply per command, in order, code class = enhanced class
def check_protocol(attempts):
    findings = []
    for a in attempts:
        if a["extra"] and not a["extra"].startswith("421"):
            findings.append(f"15 protocol: {a['id']}: unasked {a['extra'][:80]!r}")
        for command, reply in a["dialog"]:
            for problem in _reply_problems(command, reply):
                findings.append(f"15 protocol: {a['id']}: {command} -> {reply[:80]!r}: {problem}")
    return findings


def _reply_problems(command, reply):
    lines = reply.split("\n")
    if not all(re.match(r"^[2-5]\d\d[ -]", line) for line in lines) or len({line[:3] for line in lines}) != 1:
        return ["not a reply"]
    if lines[0].startswith("3") or command in ("banner", "EHLO"):
        return []
    found = ENHANCED.match(lines[0])
    if not found:
        return ["no enhanced code"]
    return [] if found.group(1) == found.group(2) else ["the classes differ"]


def _taken(messages):
    """{(id, recipient): the rows in which the upstream took it}"""
    found = collections.defaultdict(list)
    for m in messages:
        for r in m["rcpts"] if m["accepted"] else ():
            if (r["reply"] or "").startswith("2"):
                found[m["message_id"], r["to"]].append(m)
    return found


def check_all(attempts, messages, caps, internal_domains=(), ends=(), resumed_ns=()):
    """All but 13, which needs to know when there was work."""
    findings = [f for cap in caps for f in check_cap(messages, cap)]
    findings += check_no_loss(attempts, messages) + check_no_lie(attempts, messages)
    findings += check_duplicates(attempts, messages) + check_bytes(attempts, messages)
    findings += check_pause(messages, internal_domains, resumed_ns)
    findings += check_alive(ends) + check_protocol(attempts)
    return findings
