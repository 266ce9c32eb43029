-- pause: puts a pause (op 1) or ends it (op 2). A pause is a field of g:
--   "e|a TILL SINCE CLASS ACTOR REASON"   e: external mail, a: all mail; times in ms, TILL 0: until somebody resumes it
--   "r WHEN"                              resumed then: a node that was away must not bring the pause back
-- KEYS: g. ARGV[1]: msgpack of {op, field, extent, till, rest of the text, remembered}; remembered: 0 for a new pause, else the SINCE with
-- which a node remembers one that Redis has forgotten
-- -> {0 done | 1 one in force already is at least as strong | 2 was resumed meanwhile | 3 none in force, time ms, text}
local FIELDS_MAX = 600
local op, field, extent, till, text, remembered = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = div(clock(), 1000)
local old = call('HGET', KEYS[1], field)
local old_kind, old_time = string.match(old or '', '^([ear]) (%d+)')

old_time = tonumber(old_time)

-- > 0 while in force; all mail is stronger than external mail, and then the later end
local function strength(kind, ends)
    if kind ~= 'e' and kind ~= 'a' or (ends > 0 and ends <= now) then
        return 0
    end
    return (ends == 0 and 2 ^ 51 or ends) + (kind == 'a' and 2 ^ 52 or 0)
end

local function make_room()
    local all = call('HGETALL', KEYS[1])

    for i = 1, #all, 2 do
        local kind, time = string.match(all[i + 1], '^([ear]) (%d+) ?')

        if string.sub(all[i], 1, 2) == 'p:' and (kind == 'r' or (kind and strength(kind, tonumber(time)) == 0)) then
            call('HDEL', KEYS[1], all[i])
        end
    end
end

local function put(value)
    if not old and call('HLEN', KEYS[1]) >= FIELDS_MAX then
        make_room()
        if call('HLEN', KEYS[1]) >= FIELDS_MAX then
            return redis.error_reply('FULL too many pauses')
        end
    end
    call('HSET', KEYS[1], field, value)
    call('HINCRBY', KEYS[1], 'pauses', 1)
    call('PEXPIRE', KEYS[1], 2592000000)
    return {0, now, value}
end

if op == 2 then
    if strength(old_kind, old_time or 0) == 0 then
        return {3, now, ''}
    end
    return put('r ' .. string.format('%.0f', now))
end
if remembered > 0 and old_kind == 'r' and old_time >= remembered then
    return {2, now, ''}
end
if strength(old_kind, old_time or 0) >= strength(extent, till) then
    return {1, now, old or ''}
end
return put(string.format('%s %.0f %.0f %s', extent, till, remembered > 0 and remembered or now, text))
