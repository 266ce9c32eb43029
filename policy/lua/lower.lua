-- lower: the upstream says that the real cap is lower than ours. For a time, the cap of one limit of one
-- instance becomes a share of what was really used (at least 1, so that mail can show that it passes again).
-- KEYS: g, o, the state key. ARGV[1]: msgpack of {prefix, name, percent, duration us}
-- -> {time, cap}
local prefix, name, percent, duration = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local state = load_state(KEYS[3])
local entry = state.named[name]
local mixed = call('HGET', KEYS[1], 'mixed') or ''
local used = 0

if entry then
    local c = load_counter(state, entry)

    if c.kind == KIND_RATE then
        rate_turn(c, now)
    else
        window_turn(c, now)
    end
    used = counter_used(c)
end
local cap = max(div(used * percent, 100), 1)
call('HSET', KEYS[2], 'b:' .. prefix .. ':' .. name, string.format('%.0f %.0f', cap, now + duration))
call('PEXPIRE', KEYS[2], 2592000000)
if not string.find(mixed, 'b', 1, true) then
    call('HSET', KEYS[1], 'mixed', mixed .. 'b')
end
return {now, cap}
