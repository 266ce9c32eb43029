-- pause: puts a pause (op 1), or ends those of an instance's mail (op 2) or the hold of its warm-ups (op 3).
-- A pause is a field of g, FIELD for all mail, FIELD:e for external mail, FIELD:w for no mail: the warm-up
-- does not advance. So all may stand on one instance, and none ends with another:
--   "e|a|w TILL SINCE CLASS ACTOR REASON" e: external mail, a: all mail; times in ms, TILL 0: until resumed
--   "r WHEN"                              resumed then: a node that was away must not bring the pause back
-- KEYS: g. ARGV[1]: msgpack of {op, field, extent, till, rest of the text, remembered}; remembered: 0 for a
--   new pause, else the SINCE with which a node remembers one that Redis has forgotten
-- -> {0 done | 1 one in force already ends no earlier | 2 was resumed meanwhile | 3 none in force |
--   4 no place, time ms, text}
local FIELDS_MAX = 790 -- all pauses there may be in force, the other fields of g, and some marks of resumes
-- by SCOPE: which pauses share their places, and how many there are (relay/store/pause_list.h says why)
local KIND = {['0'] = 'route', ['1'] = 'middle', ['2'] = 'middle', ['3'] = 'sender', ['4'] = 'sender',
    ['5'] = 'sender'}
local PLACES = {route = 150, middle = 150, sender = 300, growth = 150}
local SUFFIX = {a = '', e = ':e', w = ':w'}
local op, field, extent, till, text, remembered = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = div(clock(), 1000)

-- when it ends, 0 when it is not in force
local function ends(kind, time)
    time = tonumber(time)
    if not SUFFIX[kind] or (time > 0 and time <= now) then
        return 0
    end
    return time == 0 and 2 ^ 52 or time
end

-- "p:0:w" is all mail of one that is called w.
local function kind_of(name)
    return #name > 6 and sub(name, -2) == ':w' and 'growth' or KIND[sub(name, 3, 3)]
end

-- Is there a place for one more? Marks and what is over take none; they go when there are too many.
local function has_place(name)
    local all, tidy = call('HGETALL', KEYS[1]), call('HLEN', KEYS[1]) >= FIELDS_MAX
    local own, taken = kind_of(name), 0

    for i = 1, #all, 2 do
        if sub(all[i], 1, 2) == 'p:' then
            local kind, time = string.match(all[i + 1], '^([eawr]) (%d+)')

            if kind and ends(kind, time) == 0 then
                if tidy then
                    call('HDEL', KEYS[1], all[i])
                end
            elseif kind_of(all[i]) == own then
                taken = taken + 1
            end
        end
    end
    return taken < PLACES[own]
end

local function put(name, value)
    call('HSET', KEYS[1], name, value)
    call('HINCRBY', KEYS[1], 'pauses', 1)
    call('PEXPIRE', KEYS[1], 2592000000)
    return {0, now, value}
end

if op > 1 then
    local ended = {3, now, ''}

    for _, name in ipairs(op == 2 and {field, field .. ':e'} or {field .. ':w'}) do
        local old = call('HGET', KEYS[1], name)

        if ends(string.match(old or '', '^([eawr]) (%d+)')) > 0 then
            ended = put(name, string.format('r %.0f', now))
        end
    end
    return ended
end
local name = field .. SUFFIX[extent]
local old = call('HGET', KEYS[1], name)
local old_kind, old_time = string.match(old or '', '^([eawr]) (%d+)')
if remembered > 0 and old_kind == 'r' and tonumber(old_time) >= remembered then
    return {2, now, ''}
end
if ends(old_kind, old_time) >= ends(extent, till) then
    return {1, now, old or ''}
end
if ends(old_kind, old_time) == 0 and not has_place(name) then
    return {4, now, ''}
end
return put(name, string.format('%s %.0f %.0f %s', extent, till, remembered > 0 and remembered or now, text))
