-- charge_usual: the charge nothing is unusual about, decided at half the price. Not another set of rules: it
-- answers only where charge.lua would grant all of it and no counter begins, turns a day (a spike: an hour),
-- was edited, is lowered or paused; it then writes exactly what charge.lua would. In all other cases it has
-- written nothing, and charge.lua decides. That is worth a file because defining the functions of common.lua
-- and copying every counter is most of what a charge costs Redis. Buckets turn here too: of many senders
-- nearly each was last charged some buckets ago.
--
-- It also charges several equal messages at once (`times`, numbered seq, seq + 1, ...), as many as fit whole:
-- a node asks so for what came in one turn of its loop. Each is counted, numbered and remembered as if it had
-- been asked alone. -> {MANY, now, how many were granted, then pairs line, step of warm-ups}; those beyond
-- are to be asked alone.
local MANY = 12
local question = cmsgpack.unpack(ARGV[1])
local times = question[16]
local now = clock()

-- What a counter has room for, and what it is now. Nothing: not usual.
local function usual_rate(value, body, line)
    local _, unit, period, n, burst, level, base, rest, _, born, seen = unpack(RATE, value, body)
    local stretched = period + lifetime(period) + 1000
    local ticks = now - base

    if n ~= line[L_CAP] or burst ~= line[L_BURST] or burst * stretched > EXACT_MAX then
        return
    end
    if ticks > 0 then -- as rate_turn() of common.lua
        base = now
        if level == 0 or ticks > div(level * stretched - rest, n) then
            level, rest = 0, 0
        else
            local leaked = div(ticks * n + rest, stretched)

            level, rest = level - leaked, ticks * n + rest - leaked * stretched
        end
    end
    return burst - level, {unit, period, n, burst, level, base, rest, born, seen}
end

-- The counts without those in slots first to last, and how much these were.
local function empty_slots(counts, first, last)
    local from, size = first * COUNT_SIZE, (last - first + 1) * COUNT_SIZE
    local gone, none, sum = sub(counts, from + 1, from + size), rep('\0', size), 0

    if gone == none then -- most senders are seldom here
        return counts, 0
    end
    for at = 1, size, COUNT_SIZE do
        sum = sum + unpack(COUNT, gone, at)
    end
    return concat({sub(counts, 1, from), none, sub(counts, from + size + 1)}), sum
end

-- window_turn() of common.lua, all buckets at once. -> the counts, what is left of the total
local function turn_counts(counts, head, to, total)
    local first, last, gone = fmod(head + 1, SLOTS), fmod(to, SLOTS), 0

    if total == 0 or to - head > 64 then
        return rep('\0', COUNTS_SIZE), 0
    end
    if last < first then -- round the end of the ring
        counts, gone = empty_slots(counts, 0, last)
        total, last = total - gone, SLOTS - 1
    end
    counts, gone = empty_slots(counts, first, last)
    return counts, total - gone
end

local function usual_window(value, body, line, is_day, kind)
    local _, unit, period, head, total, born, seen, step, day, peak, held = unpack(WINDOW, value, body)
    local to, cap, counts = div(now, width(period)), line[L_CAP], nil

    if is_day and (step ~= line[L_STEP] or day ~= div(now, DAY_US)) then
        return
    end
    if kind == KIND_SPIKE then
        if day ~= div(now, HOUR_US) then
            return
        end
        cap = ceiling_of(peak, cap, line[L_BURST])
    end
    if to > head then
        counts = sub(value, body + WINDOW_SIZE, body + WINDOW_SIZE + COUNTS_SIZE - 1)
        counts, total = turn_counts(counts, head, to, total)
        head = to
    end
    return cap - total, {unit, period, head, total, born, max(seen, cap), step, day, peak, held, counts}
end

-- Adds the counter after `cost` more, packed, to parts. -> the byte of the value after what of it has changed
local function take_rate(parts, c, body, cost)
    local n, burst = c[3], c[4]
    local seen = max(c[9], min(n + burst, CAP_MAX))

    parts[#parts + 1] = pack(RATE, KIND_RATE, c[1], c[2], n, burst, c[5] + cost, c[6], c[7], now, c[8], seen)
    return body + RATE_SIZE
end

local function take_window(parts, c, body, cost, kind, value)
    local src, from = c[11] or value, c[11] and 1 or body + WINDOW_SIZE
    local at, hours = from + fmod(c[3], SLOTS) * COUNT_SIZE, body + WINDOW_SIZE + COUNTS_SIZE
    local total, i = c[4] + cost, #parts
    local peak = kind == KIND_WARMUP and max(c[9], total) or c[9]

    parts[i + 1] = pack(WINDOW, kind, c[1], c[2], c[3], total, c[5], c[6], c[7], c[8], peak, c[10])
    parts[i + 2] = sub(src, from, at - 1)
    parts[i + 3] = pack(COUNT, unpack(COUNT, src, at) + cost)
    at = at + COUNT_SIZE
    if c[11] then
        parts[i + 4] = sub(src, at)
        at = hours
    end
    if kind == KIND_SPIKE then
        local hour = hours + fmod(c[8], HOURS) * COUNT_SIZE

        parts[#parts + 1] = sub(value, at, hour - 1)
        parts[#parts + 1] = pack(COUNT, min(unpack(COUNT, value, hour) + cost, CAP_MAX))
        at = hour + COUNT_SIZE
    end
    return at
end

-- Is all as it should be, outside the counters?
local function usual_state(seq, scopes)
    local fields = {'schema', 'epoch', 'open_at', 'mixed'}
    local general, node, last
    local earliest, latest, not_after = question[5], question[6], question[7]

    if (latest > 0 and (now > latest or now < earliest)) or (not_after > 0 and now > not_after) then
        return
    end
    for i = 1, #scopes do
        fields[4 + i] = 'p:' .. scopes[i]
        if question[3] == 1 then
            fields[4 + #scopes + i] = 'p:' .. scopes[i] .. ':e'
        end
    end
    general = call('HMGET', KEYS[1], list_unpack(fields))
    if tonumber(general[1]) ~= SCHEMA or general[2] ~= question[10] or not general[3]
        or now < general[3] * 1000 or (general[4] and general[4] ~= '') then
        return
    end
    for i = 5, #fields do
        if general[i] and byte(general[i]) ~= 114 then -- 'r': resumed
            return
        end
    end
    node = call('HMGET', KEYS[2], 'run', 'seq')
    last = tonumber(node[2]) or 0
    return node[1] == question[11] and last >= question[9] and (question[4] ~= 0 or last < seq)
end

-- Finds the counter of each of the scope's `count` lines after `first` in its state, and adds it to `found`.
-- -> how often the charge fits, how long the state is to live, number of its entries
local function usual_scope(value, key, first, count, fits, found)
    local at, live, entries, left = 2, 0, 0, count

    if not value or byte(value) ~= SCHEMA then
        return
    end
    while at <= #value do
        local size, name, kind, unit, period, after = unpack('>I2Bc0BBI8', value, at)

        for k = first + 1, first + count do
            local line = question[14][k]

            if line[L_NAME] == name then
                local body, cost = after - 10, line[L_FIXED] + line[L_EACH] * question[1]
                local room, c

                if kind ~= line[L_KIND] or unit ~= line[L_UNIT] or period ~= line[L_PERIOD] then
                    return
                elseif kind == KIND_RATE then
                    room, c = usual_rate(value, body, line)
                else
                    room, c = usual_window(value, body, line, kind == KIND_WARMUP and line[L_DAY] == k, kind)
                end
                if not room or room < cost then
                    return
                end
                fits = cost > 0 and min(fits, div(room, cost)) or fits
                found[#found + 1] = {c, body, line, cost, kind, key, k}
                left = left - 1
            end
        end
        live = max(live, kept_for(kind, period))
        at = at + 2 + size
        entries = entries + 1
    end
    if left == 0 and entries <= 24 then -- with more, charge.lua may have to tidy up
        return fits, live
    end
end

-- Writes the state of one scope with what was found in it; i is the first of those. -> the first of the next
-- scope
local function save_scope(value, key, live, fits, found, i)
    local parts, from = {}, 1

    while found[i] and found[i][6] == key do
        local c, body, _, cost, kind = list_unpack(found[i])
        local take = kind == KIND_RATE and take_rate or take_window

        parts[#parts + 1] = sub(value, from, body - 1)
        from = take(parts, c, body, cost * fits, kind, value)
        i = i + 1
    end
    parts[#parts + 1] = sub(value, from)
    call('SET', KEYS[3 + key], concat(parts), 'PX', div(live + KEPT, 1000))
    return i
end

local function save_numbers(seq, fits, n)
    local slots, granted = {'seq', seq + fits - 1}, string.format(' %.0f %.0f', n, now)

    for i = seq, seq + fits - 1 do
        slots[#slots + 1] = 'r' .. fmod(i, 64)
        slots[#slots + 1] = i .. granted
    end
    call('HSET', KEYS[2], list_unpack(slots))
end

local function usual()
    local n, seq, counts = question[1], question[8], question[13]
    local fits, found, lives = times or 1, {}, {}
    local first, key, i = 0, 0, 1
    local values, reply

    if #KEYS < 4 or question[15] ~= '' or not usual_state(seq, question[12]) then
        return
    end
    values = call('MGET', list_unpack(KEYS, 4))
    for s = 1, #counts do
        if counts[s] > 0 then
            key = key + 1
            fits, lives[key] = usual_scope(values[key], key, first, counts[s], fits, found)
            if not fits then
                return
            end
            first = first + counts[s]
        end
    end
    reply = times and {MANY, now, fits} or {0, now, n, 0, 0, 0, 0}
    for _, f in ipairs(found) do
        if f[5] == KIND_WARMUP and f[3][L_DAY] == f[7] then
            reply[#reply + 1], reply[#reply + 2] = f[7], f[1][7]
        end
    end
    if question[4] == 0 then
        for k = 1, key do
            i = save_scope(values[k], k, lives[k], fits, found, i)
        end
        save_numbers(seq, fits, n)
    end
    return reply
end

do
    local reply = usual()

    if reply then
        return reply
    elseif times then
        return {MANY, now, 0}
    end
end
