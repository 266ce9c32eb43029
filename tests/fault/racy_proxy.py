"""racy_proxy: makes a charge what it must never be, two steps instead of one.

Stands between the nodes and Redis. As the nodes load the script of the charge, its one read of the counters is put in the
place of a word of ours: it decides and writes as ever, by counters that the proxy read when the charge was asked, `gap_ms`
before it runs. That is what a governor does that reads, decides and then writes. With racy=False nothing is changed but the
time that a charge takes, so that a run through it differs in that one thing.
"""
import queue
import threading
import time

import redis

from redis_proxy import RedisProxy, _read_command

CHARGE = b"\nlocal function usual_state("  # the script of the charge alone has it
CALL = b"local call = redis.call\n"
FIRST_STATE = 3  # KEYS[4] and those after it are the counters, policy/lua/charge.lua
STALE_CALL = b"""local function stale(key)
    for i = 4, #KEYS do
        if KEYS[i] == key then return ARGV[i - 2] ~= '' and ARGV[i - 2] end
    end
end
local function call(command, ...)
    local found = {}
    if command ~= 'GET' and command ~= 'MGET' then return redis.call(command, ...) end
    for i, key in ipairs({...}) do found[i] = stale(key) end
    if command == 'MGET' then return found end
    return found[1]
end
"""


class RacyProxy(RedisProxy):
    """racy: charges go by what was read gap_ms before. scripts, charges: how many went through changed."""

    def __init__(self, target_port, racy, gap_ms=40):
        self.racy, self.gap_s = racy, gap_ms / 1000
        self.hashes, self.scripts, self.charges = set(), 0, 0
        super().__init__(target_port)

    def _up(self, client, server):
        """Commands keep their order; the reader does not wait, so charges of one connection overlap as well."""
        stream, due = client.makefile("rb"), queue.SimpleQueue()
        reader = redis.Redis(port=self.target_port)
        writer = threading.Thread(target=self._write, args=(server, due), daemon=True)
        writer.start()
        try:
            while True:
                command = _read_command(stream)
                if command is None:
                    break
                due.put(self._passed(reader, *command))
        except OSError:
            pass
        due.put(None)
        writer.join()
        reader.close()
        self._close(client, server)

    def _passed(self, reader, raw, words):
        """-> when it is to go on, and as what"""
        if words[0] == b"SCRIPT" and len(words) == 3 and CHARGE in words[2]:
            return 0, self._changed_script(reader, raw, words[2])
        if words[0] != b"EVALSHA" or words[1] not in self.hashes:
            return 0, raw
        self.charges += 1
        due_s = time.monotonic() + self.gap_s
        if not self.racy:
            return due_s, raw
        states = words[3 + FIRST_STATE:3 + int(words[2])]
        return due_s, _packed(words + [value or b"" for value in (reader.mget(states) if states else [])])

    def _changed_script(self, reader, raw, text):
        assert text.count(CALL) == 1, "the script of the charge asks Redis in another way"
        changed = text.replace(CALL, STALE_CALL) if self.racy else text
        self.hashes.add(reader.script_load(changed).encode())
        self.scripts += 1
        return _packed([b"SCRIPT", b"LOAD", changed]) if self.racy else raw

    @staticmethod
    def _write(server, due):
        try:
            for due_s, raw in iter(due.get, None):
                time.sleep(max(0, due_s - time.monotonic()))
                server.sendall(raw)
        except OSError:
            pass


def _packed(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
