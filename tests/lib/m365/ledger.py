"""The ledger: one JSON object a line, in memory and, when asked for, in a file.

    {"event": "connect", "conn": 1, "ns": ...}
    {"event": "auth", "conn": 1, "user": "relay@contoso.com", "ok": true, ...}
    {"event": "message", "conn": 1, "mail_ns": [lo, hi], "sender": ..., "auth": ..., "tls": ..., "mail_reply": ...,
     "rcpts": [{"to": ..., "ns": [lo, hi], "parameters": ..., "reply": ...}], "data_reply": ..., "dot_ns": [lo, hi], "reply": ...,
     "said_ns": time of the last reply, "accepted": true, "told": true, "sha256": ..., "sha256_below_trace": ..., "size": ..., "message_id": ...,
     "trace_id": the id in the first Received field}
    {"event": "close", "conn": 1, "why": ...}

A message is written when it ends, whichever way. accepted: the dot was answered with 2xx in the stand-in's mind; told: the whole reply was
written to the peer. A message that ended before the dot has no dot_ns.
"""
import asyncio
import hashlib
import itertools
import json
import os
import re


class Ledger:
    def __init__(self, path=None, bodies=None):
        self.rows = []
        self.file = open(path, "a", encoding="ascii") if path else None
        self.bodies = bodies
        self.changed = asyncio.Event()
        self.accepted = 0
        self.numbers = itertools.count(1)

    def add(self, **row):
        row["n"] = len(self.rows) + 1
        self.rows.append(row)
        if row.get("event") == "message" and row["accepted"]:
            self.accepted += 1
        if self.file:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        self.changed.set()
        self.changed = asyncio.Event()
        return row

    def clear(self):
        """The file keeps what it has."""
        self.rows.clear()
        self.accepted = 0

    def keep_body(self, content):
        """What the ledger says about a content; the content itself when bodies are kept."""
        header_end = content.find(b"\r\n\r\n")
        header = content[:header_end if header_end >= 0 else len(content)]
        found = re.search(rb"(?im)^message-id:\s*(\S+)", header)
        facts = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "sha256_below_trace": hashlib.sha256(below_trace(content)).hexdigest(),
            "size": len(content),
            "message_id": found.group(1).decode("latin-1") if found else None,
            "trace_id": trace_id(content),
        }
        if self.bodies:
            facts["body"] = os.path.join(self.bodies, f"{next(self.numbers)}-{facts['sha256'][:12]}.eml")
            with open(facts["body"], "wb") as f:
                f.write(content)
        return facts


def trace_id(content):
    trace = content[:len(content) - len(below_trace(content))]
    found = re.search(rb"(?i)\sid ([0-9a-z]+)", trace)
    return found.group(1).decode("latin-1") if found else None


def below_trace(content):
    """The content without its first header field, when that is a Received."""
    if content[:9].lower() != b"received:":
        return content
    end = re.search(rb"\r\n(?![ \t])", content)
    return content[end.end():] if end else b""
