"""Starts tests/wire/m365_sim and speaks to its control channel."""
import json
import os
import urllib.error
import urllib.request

from process import Process, wait_until

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "wire", "m365_sim")


class Sim:
    def __init__(self, folder, name="sim", users=("relay@contoso.com:hunter2-upstream",), accepted=("contoso.com",), cert=None,
                 bodies=False, options=()):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        self.ledger_file = os.path.join(self.folder, "ledger.jsonl")
        ready = os.path.join(self.folder, "ready.json")
        argv = ["/usr/bin/python3", PROGRAM, "--ledger", self.ledger_file, "--ready", ready]
        for user in users:
            argv += ["--user", user]
        for domain in accepted:
            argv += ["--accepted-domain", domain]
        if cert:
            argv += ["--cert", cert[0], "--key", cert[1]]
        if bodies:
            argv += ["--bodies", self.folder]
        self.process = Process(argv + list(options), os.path.join(self.folder, "log"))
        wait_until(lambda: os.path.exists(ready) or not self.process.alive(), 15, "m365_sim to listen")
        if not os.path.exists(ready):
            raise AssertionError("m365_sim did not start:\n" + self.process.text())
        with open(ready, encoding="ascii") as f:
            facts = json.load(f)
        self.port, self.control = facts["smtp"], facts["control"]

    def ask(self, method, path, body=None, timeout_s=70):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            raise AssertionError(f"m365_sim {method} {path}: {e.read().decode()}") from e

    def rule(self, **rule):
        return self.ask("POST", "/rules", rule)[0]

    def clear_rules(self):
        self.ask("DELETE", "/rules")

    def hits(self, rule_id):
        return next(r["hits"] for r in self.ask("GET", "/rules") if r["id"] == rule_id)

    def limits(self, **changes):
        self.ask("POST", "/limits", changes)

    def rows(self, since=0):
        return self.ask("GET", f"/ledger?since={since}")

    def status(self):
        return self.ask("GET", "/status")

    def mark(self):
        """Where the ledger stands now: for rows(since)."""
        return self.status()["rows"]

    def messages(self, since=0):
        return [r for r in self.rows(since) if r["event"] == "message"]

    def accepted(self, since=0):
        return [m for m in self.messages(since) if m["accepted"]]

    def wait_messages(self, n, since=0, timeout_s=10):
        """Waits for n accepted messages after the mark `since`; returns them."""
        return wait_until(lambda: (lambda a: a if len(a) >= n else None)(self.accepted(since)), timeout_s,
                          f"{n} messages upstream")

    def hide(self, *keywords):
        """Left out of the EHLO answer from now on."""
        self.ask("POST", "/hide", list(keywords))

    def forget(self):
        """As it was at start, with an empty ledger."""
        self.ask("POST", "/forget", {})

    def drop_all(self, how="fin"):
        self.ask("POST", "/drop", {"how": how})

    def say(self, raw, drop=None):
        self.ask("POST", "/say", {"raw": raw, "drop": drop})

    def stop(self):
        self.process.stop()
