-- heartbeat: each node says every second that it lives, what it remembers and what its caps are, and hears
-- what all must know.
-- KEYS: g, h (who lives), o (lowered caps), n of this node
-- ARGV[1]: msgpack of {node, uuid, run, first, epoch remembered, acked seq, time of the last charge ms,
--   longest window ms, settle ms, epoch to use for a new one, version of the pauses known, hash of the own
--   caps, own caps, when any node charged last as last heard ms, id of the server asked ('': unknown), how
--   long others may still ask another server ms}
-- -> {OK, time, epoch, field of o of a limit on which nodes differ ('': none), open at ms, stored seq, nodes
--   alive, pause version, send your caps, memory was lost, when any node charged last ms, then field, text of
--   every pause when their version is not the known one}
--
-- Memory. The epoch names one set of counters. A node that knows of charges (its own, or those the other
-- nodes told of here: they may be dead when it matters) still inside the longest window objects to another
-- epoch, to a stored sequence number below its last acknowledged one, or to charges it heard of and Redis
-- forgot: counters that should count were lost, so nothing leaves for the longest window from now on, or
-- until the operator says so. A new epoch nobody objects to opens after the settle time.
--
-- Fencing. An epoch is SET.TERM.TAG: counters of one set that were on TERM servers one after the other, the
-- last of them TAG; `terms` has the tags in order. A server that finds itself another than the one that is
-- written in its data (a promoted replica, a new start, the new owner of a cluster's slot) begins a term, and
-- before anything is charged in it all that charged elsewhere have the time to come and object. So a node
-- that remembers a term that did not lead to this one has met a server whose counts are missing here: this is
-- an old master that came back, and its counters are lost as in every other loss.
local OK, FOREIGN, TWIN = 0, 7, 11
local SILENT_MS, SAY_MS = 1500, 1200
local ALIVE_MS, FORGET_MS, KEEP_MS = 5000, 86400000, 2592000000
local TAG, TERMS_KEPT = 8, 128
local node, uuid, run, first, epoch_remembered, acked, last_charge, longest, settle, new_epoch, pauses_known,
    caps_hash, caps, heard, server, others_ms = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local now_ms = div(now, 1000)
local general = call('HMGET', KEYS[1],
    'schema', 'epoch', 'open_at', 'lost', 'trusted', 'pauses', 'mixed', 'charged', 'server', 'terms')
local stored = call('HMGET', KEYS[4], 'run', 'seq')
local beat = call('HGET', KEYS[2], node)

if general[1] and tonumber(general[1]) ~= SCHEMA then
    return {FOREIGN, now}
end

-- Two with one name. Another folder's node that lives is in its right; of one folder the younger process is,
-- for as long as it lives: a run that says nothing any more is one that an older Redis remembers.
local function lives(at)
    return now_ms - tonumber(at) < ALIVE_MS
end

local function run_lives(wanted)
    local beats = call('HGETALL', KEYS[2])

    for i = 2, #beats, 2 do
        local at, owner = string.match(beats[i], '^(%d+) (%S+)')

        if owner == wanted and lives(at) then
            return true
        end
    end
    return false
end

if beat then
    local at, owner = string.match(beat, '^(%d+) ([^ :]+)')

    if owner ~= uuid and lives(at) then
        return {TWIN, now}
    end
end
if stored[1] and stored[1] ~= run then
    if first == 0 and run_lives(uuid .. ':' .. stored[1]) then
        return {TWIN, now}
    end
    local fields = call('HGETALL', KEYS[4])

    -- The answers remembered for the former process go. The key itself must not: a cluster that moves it just
    -- now would not let it be made anew.
    call('HSET', KEYS[4], 'run', run)
    for i = 1, #fields, 2 do
        if fields[i] ~= 'run' and fields[i] ~= 'seq' then
            call('HDEL', KEYS[4], fields[i])
        end
    end
end

-- Memory.
local seq = tonumber(stored[2]) or 0
local epoch, open_at, lost = general[2], tonumber(general[3]) or 0, false
local counts = epoch_remembered ~= '' and last_charge > 0 and now_ms - last_charge <= longest + 1000

local function renew(opens)
    epoch, open_at = new_epoch, opens
    call('HSET', KEYS[1], 'schema', SCHEMA, 'epoch', epoch, 'open_at', open_at, 'lost', lost and 1 or 0,
        'began', lost and 0 or now_ms, -- nothing was charged before; 0: something may have been
        'slots_at', now_ms + settle) -- by then every holder of a connection has said so again
    call('HDEL', KEYS[1], 'trusted', 'terms', 'server')
end

local known_server, terms = general[9], general[10] or ''
local function set_of(e)
    return string.match(e, '^[^.]*')
end
local function term_of(e)
    local number, tag = string.match(e, '%.(%d+)%.(.*)$')

    return tonumber(number) or 0, tag
end

-- Did the term of this epoch lead to the present one? One that is too long ago to tell did not.
local function leads_here(e)
    local number, tag = term_of(e)
    local from = #terms - TAG * (term_of(epoch) - number + 1) + 1

    return set_of(e) == set_of(epoch)
        and (number == 0 or (from > 0 and sub(terms, from, from + TAG - 1) == tag))
end

if not epoch then
    lost, known_server = counts, nil
    renew(now_ms + (counts and longest + 1000 or settle))
elseif counts and leads_here(epoch_remembered) and (seq < acked or (tonumber(general[8]) or 0) < heard) then
    lost, known_server = true, nil
    renew(now_ms + longest + 1000)
elseif counts and not leads_here(epoch_remembered) and (tonumber(general[5]) or 0) < last_charge then
    lost = true
    open_at = max(open_at, general[4] == '1' and last_charge + longest + 1000 or now_ms + longest + 1000)
    call('HSET', KEYS[1], 'open_at', open_at, 'lost', 1)
end
local charged = max(tonumber(general[8]) or 0, last_charge)
if charged > (tonumber(general[8]) or 0) then
    call('HSET', KEYS[1], 'charged', string.format('%.0f', charged))
end
if last_charge > 0 and last_charge < (tonumber(call('HGET', KEYS[1], 'began')) or 0) then
    call('HSET', KEYS[1], 'began', 0)
end
seq = max(seq, acked)
call('HSET', KEYS[4], 'run', run, 'seq', seq)

-- Silence. While no node could beat, one of them may have been told of a block by the upstream. Before mail
-- leaves again, all that lived have the time to come back (their back-off is shorter) and say their pauses.
-- -> did another node live when one said so last, and when that was
local function others_lived()
    local beats, ats, newest = call('HGETALL', KEYS[2]), {}, 0

    for i = 1, #beats, 2 do
        ats[beats[i]] = tonumber(string.match(beats[i + 1], '^(%d+)')) or 0
        newest = max(newest, ats[beats[i]])
    end
    for other, at in pairs(ats) do
        if other ~= node and at > newest - ALIVE_MS then
            return true, newest
        end
    end
    return false, newest
end

local function close_for(ms)
    open_at = max(open_at, now_ms + ms)
    call('HSET', KEYS[1], 'open_at', open_at)
end

local others, newest = others_lived()
if others and now_ms - newest > SILENT_MS then
    close_for(SAY_MS)
end

-- A term begins. Slots, too, wait until their holders have said that they hold them.
if server ~= '' and not known_server then
    call('HSET', KEYS[1], 'server', server)
elseif server ~= '' and server ~= known_server then
    local number, tag = term_of(epoch) + 1, sub(server, 1, TAG)
    local wait = (others or others_ms > 0) and max(others_ms, SAY_MS) or 0

    terms = sub(terms .. tag, -TAG * TERMS_KEPT)
    epoch = set_of(epoch) .. '.' .. string.format('%.0f', number) .. '.' .. tag
    call('HSET', KEYS[1], 'epoch', epoch, 'server', server, 'terms', terms)
    if wait > 0 then
        close_for(wait)
        call('HSET', KEYS[1], 'slots_at', now_ms + wait)
    end
end

-- Who lives, and do their caps agree?
call('HSET', KEYS[2], node, string.format('%.0f %s:%s %s', now_ms, uuid, run, caps_hash))
if caps ~= '' then
    call('HSET', KEYS[3], 'm:' .. node, cmsgpack.pack({caps_hash, caps}))
end
local alive, beats, fields = {}, call('HGETALL', KEYS[2]), {}
for i = 1, #beats, 2 do
    local at, _, hash = string.match(beats[i + 1], '^(%d+) (%S+) (%S+)$')
    local age = at and now_ms - tonumber(at) or FORGET_MS + 1

    if age < ALIVE_MS then
        alive[#alive + 1] = beats[i] .. '=' .. hash
        fields[#fields + 1] = {'m:' .. beats[i], hash}
    elseif age > FORGET_MS then
        call('HDEL', KEYS[2], beats[i])
        call('HDEL', KEYS[3], 'm:' .. beats[i])
    end
end
table.sort(alive)

-- The lower of two lists of caps, step by step.
local met = {}
local function lower_of(a, b)
    local both, steps = a .. ' ' .. b, {}

    if not met[both] then
        for step = 1, max(#a, #b) / COUNT_SIZE do
            steps[step] = pack(COUNT, min(cap_at(a, step), cap_at(b, step)))
        end
        met[both] = concat(steps)
    end
    return met[both]
end

-- The lowest caps and the longest period of each limit on which the nodes that have it differ: N in every
-- longer interval is N in every shorter one too, so that obeys all of them. A limit that some lack is a
-- difference that only they can end: what leaves through them is not counted. So is one that counts
-- another thing here than there (`what`). Of one that some enforce and others have in shadow the cap is that
-- of those who enforce it, and it is enforced everywhere.
-- -> by field what is in force, the first field by name on which they differ ('': none)
local function agree(maps)
    local lowest, first = {}, ''

    for _, map in ipairs(maps) do
        local curves, all = map[1], map[2]

        for _, slots in ipairs(map[3]) do
            all[#all + 1] = slots
        end
        for _, limit in ipairs(all) do
            local field, caps, burst = limit[1], curves[limit[2]] or limit[2], limit[3]
            local period, what, shadow = limit[4], limit[5], limit[6] or 0
            local l = lowest[field]

            if not l then
                lowest[field] = {caps = caps, burst = burst, period = period, what = what, nodes = 1,
                    shadow = shadow, differ = false}
            else
                l.nodes = l.nodes + 1
                if l.caps ~= caps or l.burst ~= burst or l.period ~= period or l.what ~= what
                    or l.shadow ~= shadow then
                    if l.shadow == shadow then
                        l.caps, l.burst = lower_of(l.caps, caps), min(l.burst, burst)
                    elseif shadow == 0 then
                        l.caps, l.burst = caps, burst
                    end
                    l.enforced = l.enforced or l.shadow ~= shadow
                    l.shadow = min(l.shadow, shadow)
                    l.period, l.differ = max(l.period, period), true
                end
            end
        end
    end
    for field, l in pairs(lowest) do
        if (l.differ or l.nodes ~= #maps) and (first == '' or field < first) then
            first = field
        end
    end
    return lowest, first
end

local function load_maps()
    local maps = {}

    for i, field in ipairs(fields) do
        local packed = call('HGET', KEYS[3], field[1])
        local map = packed and cmsgpack.unpack(packed)

        if not map or map[1] ~= field[2] then
            return nil -- somebody's caps are on their way; what is in force stays in force
        end
        maps[i] = cmsgpack.unpack(map[2])
    end
    return maps
end

local own = call('HGET', KEYS[3], 'm:' .. node)
local want_caps = not own or cmsgpack.unpack(own)[1] ~= caps_hash
local summary = call('HMGET', KEYS[3], 'summary', 'differ')
local mixed = general[7] or ''
local differ = summary[2] or ''
if summary[1] ~= concat(alive, ' ') or string.find(mixed, 'b', 1, true) then
    local maps = load_maps()

    if maps then
        local lowest
        local marks, all = {c = false, b = false}, call('HGETALL', KEYS[3])

        lowest, differ = agree(maps)
        for i = 1, #all, 2 do
            local mark = sub(all[i], 1, 2)
            local till = mark == 'b:' and string.match(all[i + 1], '^%d+ (%d+)$')
            local over = mark == 'b:' and (not till or tonumber(till) <= now)

            if mark == 'c:' or mark == 'e:' or mark == 'l:' or over then
                call('HDEL', KEYS[3], all[i])
            elseif mark == 'b:' then
                marks.b = true
            end
        end
        for field, l in pairs(lowest) do
            if l.differ then
                marks.c = marks.c or sub(field, 1, 2) == 'c:' -- a charge does not ask for slots
                call('HSET', KEYS[3], field, pack(COUNT, l.burst) .. pack(COUNT, l.period) .. l.caps)
            end
            if l.enforced then
                call('HSET', KEYS[3], 'e:' .. sub(field, 3), 1)
            end
        end
        mixed = (marks.c and 'c' or '') .. (marks.b and 'b' or '')
        call('HSET', KEYS[3], 'summary', concat(alive, ' '), 'differ', differ)
        call('HSET', KEYS[1], 'mixed', mixed)
    end
end
for i = 1, 4 do
    call('PEXPIRE', KEYS[i], KEEP_MS)
end

local version = tonumber(general[6]) or 0
local reply = {OK, now, epoch, differ, open_at, seq, #alive, version, want_caps and 1 or 0, lost and 1 or 0,
    charged}
if version ~= pauses_known then
    local all = call('HGETALL', KEYS[1])

    for i = 1, #all, 2 do
        if sub(all[i], 1, 2) == 'p:' then
            reply[#reply + 1], reply[#reply + 2] = all[i], all[i + 1]
        end
    end
end
return reply
