-- warmup: a reply that was not clean holds the day of a warm-up (op 1) or also takes it one step back (op 2).
-- KEYS: g, the state key, n of the node. ARGV[1]: msgpack of {op, epoch, line, run, number of this reply,
--   when it came}. It is asked until it was answered, so what was done before under the same number is not
--   done again; and it may come late: the day it belongs to is held as long as the state is at that day, else
--   the present one.
-- -> {time, step}, or {time, step, 1} when the step is not the one asked for, or {time, 0} when these are not
-- the counters the node knows: nothing was done, ask again
local op, epoch, line, run, number, at = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local field = concat({'w', op, KEYS[2], line[L_NAME]}, ':')
local id = run .. ':' .. string.format('%.0f', number)
local state, entry, c

if call('HGET', KEYS[1], 'epoch') ~= epoch then
    return {now, 0}
end
state = load_state(KEYS[2])
entry = state.named[line[L_NAME]]
c = entry and counter_turn(load_counter(state, entry), line, line[L_CAP], 0, now)
    or counter_init(line, line[L_CAP], 0, now)
if call('HGET', KEYS[3], field) == id then
    return {now, c.step}
end
if c.step ~= line[L_STEP] then
    return {now, c.step, 1}
end
turn_day(c, min(at, now), line)
if op == 2 and c.held < 2 then
    c.step, c.held = max(c.step - 1, 1), 2
end
c.held = max(c.held, 1)
turn_day(c, now, line) -- held: it does not advance
save_state(KEYS[2], state, {[line[L_NAME]] = c}, now)
call('HSET', KEYS[3], field, id)
return {now, c.step}
