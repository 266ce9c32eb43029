-- warmup: a reply that was not clean holds the day of a warm-up (op 1) or also takes it one step back (op 2);
-- an operator puts it on a step (op 3), one step on (op 4) or back (op 5), and that was the day's step.
-- KEYS: g, the state key, n of the node. ARGV[1]: msgpack of {op, epoch, line, run, number of this reply or
--   order, when it came, scope ("number:instance"), the step of op 3}. It is asked until it was answered, so
--   what was done before under the same number is not done again; and it may come late: the day it belongs to
--   is held as long as the state is at that day, else the present one.
-- -> {time, step}, of an order with 0 and the step before behind; {time, step, 1} when the step is not the
--   one asked for, or {time, 0} when these are not the counters the node knows: nothing was done, ask again
local op, epoch, line, run, number, at, scope, to = list_unpack(cmsgpack.unpack(ARGV[1]))
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
    return op > 2 and {now, c.step, 0, c.step} or {now, c.step}
end
if c.step ~= line[L_STEP] then
    return {now, c.step, 1}
end
turn_day(c, min(at, now), line, scope)
local before = c.step
if op == 2 and c.held < 2 then
    c.step, c.held = max(c.step - 1, 1), 2
elseif op > 2 then
    to = op == 3 and to or op == 4 and c.step + 1 or c.step - 1
    c.step = max(min(to, 1000), 1)
end
c.held = max(c.held, 1)
turn_day(c, now, line, scope) -- held: it does not advance
save_state(KEYS[2], state, {[line[L_NAME]] = c}, now)
call('HSET', KEYS[3], field, id)
if op > 2 then
    call('HINCRBY', KEYS[1], 'pauses', 1) -- who waits under the former cap may ask again, on all nodes
    return {now, c.step, 0, before}
end
return {now, c.step}
