"""What the stand-in answers out of the ordinary, and the limits of a tenant.

A rule is a JSON object. It applies at one step of the session to what it matches:

    step       connect ehlo ehlo_tls starttls handshake auth mail rcpt data body dot rset quit idle
    sender, recipient, auth   shell patterns, case folded; absent: anything. At body and dot recipient is matched against
               the accepted recipients, with blanks between them
    skip       let so many matches pass first
    count      apply so often, then never again; absent: always
    delay_ms   wait before the answer
    reply      the answer, one line or several separated by \\n ("550-a\\n550 b"); absent: the ordinary one
    raw        bytes to send instead of a reply, as they are (latin-1)
    drop       "fin" or "rst"
    when       for drop: "before" the answer (default), "after" it, or "mid" (half of it was sent)
    after_bytes  for step body: so many bytes of content were seen
"""
import fnmatch
import itertools
import time

STEPS = {"connect", "ehlo", "ehlo_tls", "starttls", "handshake", "auth", "mail", "rcpt", "data", "body", "dot", "rset",
         "quit", "idle"}
KEYS = {"step", "sender", "recipient", "auth", "skip", "count", "delay_ms", "reply", "raw", "drop", "when", "after_bytes"}


class Rules:
    def __init__(self):
        self.rules = []
        self.ids = itertools.count(1)

    def add(self, rule):
        unknown = set(rule) - KEYS
        if unknown:
            raise ValueError(f"unknown key {sorted(unknown)[0]!r} in a rule")
        if rule.get("step") not in STEPS:
            raise ValueError(f"unknown step {rule.get('step')!r}")
        if rule.get("drop") not in (None, "fin", "rst"):
            raise ValueError("drop is fin or rst")
        rule = dict(rule, id=next(self.ids), hits=0)
        self.rules.append(rule)
        return rule["id"]

    def clear(self):
        self.rules.clear()

    def match(self, step, **subject):
        for rule in self.rules:
            if rule["step"] != step or not _covers(rule, subject):
                continue
            if rule.get("skip", 0) > 0:
                rule["skip"] -= 1
                continue
            if "count" in rule:
                if rule["count"] <= 0:
                    continue
                rule["count"] -= 1
            rule["hits"] += 1
            return rule
        return None


def _covers(rule, subject):
    for key in ("sender", "recipient", "auth"):
        if key in rule and not fnmatch.fnmatchcase((subject.get(key) or "").lower(), rule[key].lower()):
            return False
    return True


class Limits:
    """The tenant's limits; None: off. They answer as Microsoft does (see the profile in conf/profiles)."""

    def __init__(self):
        self.size = 157286400
        self.connections = 3         # per mailbox: 432 4.3.2 beyond
        self.per_minute = None       # messages per mailbox
        self.per_minute_mode = "delay"  # or "reject"
        self.external = None         # external recipients of the tenant in a rolling window
        self.external_window_s = 86400
        self.recipients = 500        # per message
        self.taken = []              # (monotonic s, n) of external recipients
        self.minute = {}             # mailbox -> times of messages

    def set(self, changes):
        for key, value in changes.items():
            if key not in ("size", "connections", "per_minute", "per_minute_mode", "external", "external_window_s",
                           "recipients"):
                raise ValueError(f"unknown limit {key!r}")
            setattr(self, key, value)
        if "external" in changes:
            self.taken = []  # a new limit counts from now on
        if "per_minute" in changes:
            self.minute = {}

    def external_left(self):
        if self.external is None:
            return None
        since = time.monotonic() - self.external_window_s
        self.taken = [(t, n) for t, n in self.taken if t > since]
        return self.external - sum(n for _, n in self.taken)

    def take_external(self, n):
        if n:
            self.taken.append((time.monotonic(), n))

    def minute_wait_s(self, mailbox):
        """How long this mailbox must wait for its next message; takes the place when it need not."""
        if self.per_minute is None:
            return 0
        now = time.monotonic()
        times = [t for t in self.minute.get(mailbox, []) if t > now - 60]
        self.minute[mailbox] = times
        if len(times) < self.per_minute:
            times.append(now)
            return 0
        return times[0] + 60 - now
