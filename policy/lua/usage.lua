-- usage: how full one limit is now. Changes nothing.
-- KEYS: g, o, then the state key (or, for a concurrency limit, its leases). ARGV[1]: msgpack of {line,
--   prefix, line of the limit whose step a warm-up goes by: the day's for an hour cap}; the line's `fixed` is
--   how much is to pass, 0 meaning one
-- -> {time, used, cap in force for the next charge, us until so much passes (-1: not under this cap), then
--   of a warm-up: the step that is stored (or, after days without mail, to which it will have fallen), peak
--   and held as the next charge finds them, 1 if it will advance, the UTC day that is stored (of a spike the
--   usual stands in place of the peak); then the period in force, and what lowers the cap, -1 where nothing
--   does: the lowest cap of all nodes, the upstream's word and until when it holds}. Where that step is not
--   that of the lines, cap and what follows from it are wrong: to be asked again
local line, prefix, day = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local mixed = call('HGET', KEYS[1], 'mixed')
local lowered, lowered_burst, lowered_next = load_lowered(KEYS[2], mixed, {prefix}, {1}, {line}, now)
local cap, burst = min(line[L_CAP], lowered[1] or CAP_MAX), min(line[L_BURST], lowered_burst[1] or CAP_MAX)

if line[L_KIND] == 2 then
    local used = call('ZCOUNT', KEYS[3], '(' .. string.format('%.0f', now), '+inf')
    local common = call('HGET', KEYS[2], 'l:' .. prefix)

    cap = common and min(line[L_CAP], cap_at(common, 3)) or line[L_CAP]
    return {now, used, cap, used < cap and 0 or -1, 0, 0, 0, 0, 0, 0, common and cap_at(common, 3) or -1, -1,
        0}
end
local state = load_state(KEYS[3])

local function counter_of(l, its_cap, its_burst)
    local entry = state.named[l[L_NAME]]

    return entry and counter_turn(load_counter(state, entry), l, its_cap, its_burst, now)
        or counter_init(l, its_cap, its_burst, now)
end

local c = counter_of(line, cap, burst)
local step, peak, held, advances, since = 0, 0, 0, false, 0
if c.kind == KIND_WARMUP then
    local d = day[L_NAME] == line[L_NAME] and c or counter_of(day, day[L_CAP], 0)

    step, since = d.step, d.day
    local turn = turn_day(d, now, day, prefix)
    if turn < 0 then
        step = d.step
    end
    advances = turn > 0 and step == day[L_STEP]
    if advances then
        cap = min(line[L_NEXT], lowered_next[1] or CAP_MAX)
    end
    peak, held = d.peak, d.held
elseif c.kind == KIND_SPIKE then
    peak = c.peak
end
cap = counter_most(c, cap, burst)
local used, wait, wanted = counter_used(c), 0, max(line[L_FIXED], 1)
if cap < wanted then
    wait = -1
elseif used + wanted > cap then
    wait = max(counter_frees_at(c, used + wanted - cap) - now, 0)
end

local by_nodes, by_upstream, till = -1, -1, 0
if mixed and mixed ~= '' then
    local common = call('HGET', KEYS[2], 'c:' .. line[L_NAME])
    local own = call('HGET', KEYS[2], 'b:' .. prefix .. ':' .. line[L_NAME])

    if common and c.kind == KIND_RATE then
        by_nodes = cap_at(common, 1)
    elseif common then
        by_nodes = cap_at(sub(common, 2 * COUNT_SIZE + 1), line[L_STEP] + (advances and 1 or 0))
    end
    if own then
        by_upstream, till = string.match(own, '^(%d+) (%d+)')
        by_upstream, till = tonumber(by_upstream), tonumber(till)
    end
    if till <= now then
        by_upstream, till = -1, 0
    end
end
return {now, used, cap, wait, step, peak, held > 0 and 1 or 0, advances and 1 or 0, since, line[L_PERIOD],
    by_nodes, by_upstream, till}
