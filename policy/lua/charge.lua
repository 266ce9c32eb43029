-- charge: may g of n recipients go, and if so, count them in every limit at once. charge_usual.lua goes
-- before and says when this part is not needed.
-- KEYS: g, n of the node, o, then one state key per scope instance that has limits, then one per instance
--   that has limits of new recipients: whom it knows.
-- ARGV[1]: msgpack of {n, least, external, look, earliest, latest, not after, seq, acked seq, epoch, run,
--   scopes ("scope number:instance"), lines of each scope, lines, people (7 bytes each, or ''), times (or
--   nothing)}; earliest..latest is the time it must be now by the node's own clock (0: it has no idea yet)
-- -> {kind, time, granted, line, used, cap, retry us, then pairs line, step of warm-ups, and pairs -line,
--   period in us of those counted over the longer one of another node, and pairs 1000 + line, 1 or 2 of
--   those in shadow that would have held it (1) or let fewer pass (2)}; numbers only, but a pause's text
--   comes last, and of a grant with people, for each a hex digit: to which lines of new recipients it is new.
--   Granted are those with 0 first, then the others, each in their order.
local GRANTED, OVER, PAUSED, CLOSED, IMPOSSIBLE, LATE, CLOCK, FOREIGN, EPOCH, LOST, STEP, TWIN =
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local n, least, external, look, earliest, latest, not_after, seq, acked, epoch, run, scopes, counts, lines =
    list_unpack(question) -- of charge_usual.lua, with `now`

local people = question[15]
local hour = div(now, HOUR_US)

-- Who is new to which line? The bits are those of charge_line.new_bit.
-- -> digits by person, {known, hours} by scope; line.new[i]: person i is new to it
local function mark_new()
    local key, marks, knowns, k, bit = 3, {}, {}, 0, 1

    for i = 1, n do
        marks[i] = 0
    end
    for _, count in ipairs(counts) do
        key = key + (count > 0 and 1 or 0)
    end
    for s, count in ipairs(counts) do
        for _ = 1, count do
            k = k + 1
            local line = lines[k]

            if line[L_UNIT] == UNIT_NEW then
                local own = knowns[s]

                if not own then
                    key = key + 1
                    own = {known = load_known(KEYS[key], people), hours = 0}
                    knowns[s] = own
                end
                own.hours = max(own.hours, line[L_KNOWN])
                line.new = {}
                for i = 1, n do
                    local number, tag = person_at(people, i)
                    local _, of = find_known(own.known.buckets[number], tag)

                    if not of or hour >= of + line[L_KNOWN] then
                        line.new[i] = true
                        marks[i] = marks[i] + bit
                    end
                end
                bit = bit * 2
            end
        end
    end
    return marks, knowns
end

-- Those nobody calls new, then the others.
local function order_of(marks)
    local order = {}

    for strangers = 0, 1 do
        for i = 1, n do
            if min(marks[i], 1) == strangers then
                order[#order + 1] = i
            end
        end
    end
    return order
end

local function digits_of(marks)
    local digits = {}

    for i = 1, n do
        digits[i] = string.format('%x', marks[i])
    end
    return concat(digits)
end

local marks, knowns, order
if people ~= '' then
    marks, knowns = mark_new()
    order = order_of(marks)
end

-- What a grant of g costs the line, and the largest grant that costs it no more than room.
local function cost_of(line, g)
    local cost = 0

    if not line.new then
        return line[L_FIXED] + line[L_EACH] * g
    end
    for j = 1, g do
        cost = cost + (line.new[order[j]] and 1 or 0)
    end
    return cost
end

local function fits(line, room)
    local fixed, each = line[L_FIXED], line[L_EACH]

    if not line.new then
        return fixed > room and 0 or (each == 0 and n or min(div(room - fixed, each), n))
    end
    for j = 1, n do
        room = room - (line.new[order[j]] and 1 or 0)
        if room < 0 then
            return j - 1
        end
    end
    return n
end

-- Is it the Redis we know, at the time we know, in time?
if latest > 0 and (now > latest or now < earliest) then
    return {CLOCK, now}
end
if not_after > 0 and now > not_after then
    return {LATE, now}
end
local fields = {'schema', 'epoch', 'open_at', 'mixed'}
for _, scope in ipairs(scopes) do
    fields[#fields + 1] = 'p:' .. scope
    if external == 1 then
        fields[#fields + 1] = 'p:' .. scope .. ':e'
    end
end
local general = call('HMGET', KEYS[1], list_unpack(fields))
if general[1] and tonumber(general[1]) ~= SCHEMA then
    return {FOREIGN, now}
end
if general[2] ~= epoch then
    return {EPOCH, now}
end
local slot = 'r' .. fmod(seq, 64)
local node = call('HMGET', KEYS[2], 'run', 'seq', slot)
if (tonumber(node[2]) or 0) < acked then
    return {LOST, now}
end
if node[1] ~= run then
    return {TWIN, now}
end
if node[3] and look == 0 then -- an answer that was lost on its way: the same answer again
    local of, granted, at = string.match(node[3], '^(%d+) (%d+) (%d+)$')

    if tonumber(of) == seq then
        return {GRANTED, tonumber(at), tonumber(granted), 0, 0, 0, 0, marks and digits_of(marks) or nil}
    end
end

-- Of the pauses that stop it the one that ends last is told. One that cannot be read stops all mail its
-- field is about.
local stop, stop_ends = 0, 0
for i = 5, #fields do
    local text = general[i]

    if text and byte(text) ~= 114 then -- 'r': resumed
        local till = tonumber((string.match(text, '^[ea] (%d+) '))) or 0
        local ends = till == 0 and CAP_MAX or till

        if ends * 1000 > now and ends > stop_ends then
            stop, stop_ends = i, ends
        end
    end
end
if stop > 0 then
    return {PAUSED, now, div(stop - 5, 1 + external) + 1, general[stop]}
end
local open_at = tonumber(general[3]) * 1000
if now < open_at then
    return {CLOSED, now, open_at - now}
end

-- Is a counter that is not there missed? The period is the one in force by now. (is_missed() of decide.c.)
local function is_missed(state, line)
    local period, charged = line[L_PERIOD], line[L_CHARGED]

    return (line[L_EXPECTED] == 1 and not state.value)
        or (charged > 0 and charged + period + lifetime(period) > now)
end

-- Bring every counter to now.
local lowered, lowered_burst, lowered_next = load_lowered(KEYS[3], general[4], scopes, counts, lines, now)
local states, counters, caps, advanced, scope_of = {}, {}, {}, {}, {}
local i, key = 0, 3
for s, count in ipairs(counts) do
    if count > 0 then
        key = key + 1
        states[s] = load_state(KEYS[key])
    end
    for _ = 1, count do
        i = i + 1
        scope_of[i] = scopes[s]
        local line = lines[i]
        local entry = states[s].named[line[L_NAME]]
        local cap = min(line[L_CAP], lowered[i] or CAP_MAX)
        local burst = min(line[L_BURST], lowered_burst[i] or CAP_MAX)

        if entry then
            counters[i] = counter_turn(load_counter(states[s], entry), line, cap, burst, now)
        elseif is_missed(states[s], line) then
            counters[i] = counter_init_full(line, cap, burst, now)
        else
            counters[i] = counter_init(line, cap, burst, now)
        end
    end
end

-- Writes the counters back: all of them, or those whose limit was edited (policy/counter.h says why these
-- always).
local changed = false
for _, c in ipairs(counters) do
    changed = changed or c.changed
end
local function save(all)
    local k, at = 0, 3

    for s, count in ipairs(counts) do
        local new = {}

        for _ = 1, count do
            k = k + 1
            if all or counters[k].changed then
                new[lines[k][L_NAME]] = counters[k]
            end
        end
        at = count > 0 and at + 1 or at
        if next(new) then
            save_state(KEYS[at], states[s], new, now)
        end
    end
end

-- Turn the days of warm-ups, then set the caps in force.
for k, line in ipairs(lines) do
    if line[L_KIND] == KIND_WARMUP and line[L_DAY] == k then
        if counters[k].step ~= line[L_STEP] then
            return {STEP, now, k, counters[k].step}
        end
        local turn = turn_day(counters[k], now, line, scope_of[k])

        if turn < 0 then -- what it is at now has other caps than these
            counters[k].changed = true
            save(false)
            return {STEP, now, k, counters[k].step}
        end
        advanced[k] = turn > 0
    end
end
local granted, binding = n, 0
local rooms = {}
for k, line in ipairs(lines) do
    local c, fixed, each = counters[k], line[L_FIXED], line[L_EACH]
    local configured = line[L_KIND] == KIND_RATE and line[L_BURST] or line[L_CAP]
    local cap = min(line[L_CAP], lowered[k] or CAP_MAX)
    if advanced[line[L_DAY]] then
        cap = min(line[L_NEXT], lowered_next[k] or CAP_MAX)
    end
    cap = counter_most(c, cap, min(line[L_BURST], lowered_burst[k] or CAP_MAX))
    local used = counter_used(c)
    local room = max(cap - used, 0)
    local cost = cost_of(line, least)
    local fewer_fit = least > 1 and each > 0 and fixed + each <= cap
    local grows = line[L_KIND] == KIND_WARMUP or line[L_KIND] == KIND_SPIKE
    local never = cost > cap and (fewer_fit or (not grows and cost > configured))

    if never and line[L_SHADOW] == 0 then
        if changed then
            save(false)
        end
        return {IMPOSSIBLE, now, 0, k, used, cap, -1}
    end
    caps[k] = cap
    rooms[k] = fits(line, room)
    if line[L_SHADOW] == 0 and rooms[k] < granted then
        granted, binding = rooms[k], k
    end
end

-- Not enough: say which limit keeps it longest, and for how long.
if granted < least then
    local longest, worst = -2, 0

    if changed then
        save(false)
    end
    for k, line in ipairs(lines) do
        if line[L_SHADOW] == 0 and rooms[k] < least then
            local cost, used, wait = cost_of(line, least), counter_used(counters[k]), -1

            if cost <= caps[k] then
                wait = max(counter_frees_at(counters[k], used + cost - caps[k]) - now, 0)
            end
            if wait == -1 or wait > longest then
                longest, worst = wait, k
            end
            if wait == -1 then
                break
            end
        end
    end
    return {OVER, now, 0, worst, worst > 0 and counter_used(counters[worst]) or 0, caps[worst] or 0,
        longest < 0 and -1 or longest}
end

-- Take it on all.
if look == 0 then
    for k, line in ipairs(lines) do
        counter_take(counters[k], cost_of(line, granted), caps[k], now)
    end
    save(true)
    for _, own in pairs(knowns or {}) do
        for j = 1, granted do
            local number, tag = person_at(people, order[j])

            add_known(own.known, number, tag, hour, own.hours)
        end
        save_known(own.known, own.hours)
    end
    call('HSET', KEYS[2], 'seq', max(seq, tonumber(node[2]) or 0),
        slot, string.format('%.0f %.0f %.0f', seq, granted, now))
elseif changed then
    save(false)
end
local reply = {GRANTED, now, granted, binding, binding > 0 and counter_used(counters[binding]) or 0,
    caps[binding] or 0, 0}
for k, line in ipairs(lines) do
    if line[L_KIND] == KIND_WARMUP and line[L_DAY] == k then
        reply[#reply + 1], reply[#reply + 2] = k, counters[k].step
    end
    if line.longer then
        reply[#reply + 1], reply[#reply + 2] = -k, line[L_PERIOD]
    end
    if line[L_SHADOW] == 1 and rooms[k] < granted then
        reply[#reply + 1], reply[#reply + 2] = 1000 + k, rooms[k] < least and 1 or 2
    end
end
reply[#reply + 1] = marks and digits_of(marks) or nil
return reply
