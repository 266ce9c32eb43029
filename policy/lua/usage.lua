-- usage: how full one limit is now. Changes nothing.
-- KEYS: g, o, then the state key (or, for a concurrency limit, its leases). ARGV[1]: msgpack of {line, prefix}
-- -> {time, used, cap in force, us until one more passes (-1: not under this cap), step, peak, held}
local line, prefix = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local lowered, lowered_burst = load_lowered(KEYS[2], call('HGET', KEYS[1], 'mixed'), {prefix}, {1}, {line}, now)
local cap, burst = min(line[L_CAP], lowered[1] or CAP_MAX), min(line[L_BURST], lowered_burst[1] or CAP_MAX)

if line[L_KIND] == 2 then
    local used = call('ZCOUNT', KEYS[3], '(' .. string.format('%.0f', now), '+inf')

    return {now, used, cap, used < cap and 0 or -1, 0, 0, 0}
end
local state = load_state(KEYS[3])
local entry = state.named[line[L_NAME]]
local c = entry and counter_turn(load_counter(state, entry), line, cap, burst, now) or counter_init(line, cap, burst, now)
local step, peak, held = c.step, c.peak, c.held

if c.kind == KIND_WARMUP and step == line[L_STEP] then -- else the node asks again with the caps of this step
    if turn_day(c, now, line[L_CAP], line[L_USE]) then
        cap = min(line[L_NEXT], lowered[1] or CAP_MAX)
        step = c.step
    end
    peak, held = c.peak, c.held
end
if c.kind == KIND_RATE then
    cap = c.burst
end
local used, wait = counter_used(c), 0
if cap < 1 then
    wait = -1
elseif used + 1 > cap then
    wait = max(counter_frees_at(c, used + 1 - cap) - now, 0)
end
return {now, used, cap, wait, step, peak, held > 0 and 1 or 0}
