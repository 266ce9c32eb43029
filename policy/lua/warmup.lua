-- warmup: a reply that was not clean holds the day of a warm-up (op 1) or also takes it one step back (op 2).
-- KEYS: g, the state key. ARGV[1]: msgpack of {op, epoch, line}
-- -> {time, step}, or {time, step, 1} when the step is not the one asked for: nothing was done, ask again with its caps
local op, epoch, line = list_unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
local state, entry, c

if call('HGET', KEYS[1], 'epoch') ~= epoch then
    return {now, line[L_STEP]}
end
state = load_state(KEYS[2])
entry = state.named[line[L_NAME]]
c = entry and counter_turn(load_counter(state, entry), line, line[L_CAP], 0, now) or counter_init(line, line[L_CAP], 0, now)
if c.step ~= line[L_STEP] then
    return {now, c.step, 1}
end
turn_day(c, now, line[L_CAP], line[L_USE])
if op == 2 and c.held < 2 then
    c.step, c.held = max(c.step - 1, 1), 2
end
c.held = max(c.held, 1)
save_state(KEYS[2], state, {[line[L_NAME]] = c}, now)
return {now, c.step}
