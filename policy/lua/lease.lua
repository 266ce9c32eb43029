-- lease: slots of a concurrency limit. A sorted set: member "node's uuid:run:number", score = when it expires
-- in us. op 1 takes one, op 2 renews (adds it again if Redis forgot it: the connection is there), op 3 gives
-- it back, op 4 gives back what former runs of the asking node held: those processes are dead, and their
-- connections with them; who takes one frees them too. None is given while a holder may not have said again
-- that it holds one: under an epoch the node has not met, and right after a new one began.
-- KEYS: g, o, the leases. ARGV[1]: msgpack of {op, uuid, run, number, ttl us, cap, field of o, epoch}
-- -> {1 granted | 0, time, us until the first slot expires by itself}
local op, uuid, run, number, ttl, cap, field, epoch = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local key, member = KEYS[3], uuid .. ':' .. run .. ':' .. string.format('%.0f', number)

local function hold()
    call('ZADD', key, now + ttl, member)
    call('PEXPIRE', key, div(ttl, 1000) + 7200000)
    return {1, now, 0}
end

local function is_former(other)
    local mine = uuid .. ':' .. run .. ':'
    return sub(other, 1, #uuid + 1) == uuid .. ':' and sub(other, 1, #mine) ~= mine
end

if op == 4 then
    local freed = 0
    for _, other in ipairs(call('ZRANGE', key, 0, -1)) do
        freed = freed + (is_former(other) and call('ZREM', key, other) or 0)
    end
    return {freed, now, 0}
end
if op == 3 then
    return {call('ZREM', key, member), now, 0}
elseif op == 2 then
    return hold()
end
local general = call('HMGET', KEYS[1], 'epoch', 'slots_at')
local wait = (tonumber(general[2]) or 0) * 1000 - now
if general[1] ~= epoch or wait > 0 then
    return {0, now, general[1] ~= epoch and 1000000 or wait}
end
call('ZREMRANGEBYSCORE', key, '-inf', now)
local held = call('ZRANGE', key, 0, -1)
local count = 0
for _, other in ipairs(held) do
    if is_former(other) then
        call('ZREM', key, other)
    elseif other ~= member then
        count = count + 1
    end
end
local common = call('HGET', KEYS[2], field) -- of nodes that differ, the lowest
cap = common and min(cap, cap_at(common, 3)) or cap
if count < cap then
    return hold()
end
local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
return {0, now, first[2] and max(tonumber(first[2]) - now, 0) or 0}
