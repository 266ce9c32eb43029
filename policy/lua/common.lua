-- common: the arithmetic of counters and their packed state, for every script. It is that of policy/window.c,
-- rate.c and counter.c; the model test (tests/unit/test_model.c) holds both together, result by result.

-- window ----------------------------------------------------------------------------------------------------
-- c.src from c.at on holds the 65 counts of the ring; bucket b is number fmod(b, 65).

local function count_at(c, number)
    return (unpack(COUNT, c.src, c.at + fmod(number, SLOTS) * 6))
end

local function set_count(c, number, n)
    local at = c.at + fmod(number, SLOTS) * 6

    c.src = concat({sub(c.src, c.at, at - 1), pack(COUNT, n), sub(c.src, at + 6, c.at + COUNTS_SIZE - 1)})
    c.at = 1
end

local function window_init(c, period, now)
    c.period, c.width = period, width(period)
    c.head, c.total, c.born, c.seen = div(now, c.width), 0, now, 0
    c.src, c.at = rep('\0', COUNTS_SIZE), 1
end

local function oldest(c)
    return max(c.head - 64, 0)
end

local function window_turn(c, now)
    local to = div(now, c.width)

    if to <= c.head then
        return
    end
    if c.total == 0 or to - c.head > 64 then
        c.src, c.at, c.total, c.head = rep('\0', COUNTS_SIZE), 1, 0, to
        return
    end
    while c.head < to do -- what was 65 buckets ago leaves
        local n

        c.head = c.head + 1
        n = count_at(c, c.head)
        if n > 0 then
            c.total = c.total - n
            set_count(c, c.head, 0)
        end
    end
end

local function window_add(c, number, n)
    if n > 0 then
        set_count(c, number, count_at(c, number) + n)
        c.total = c.total + n
    end
end

local function window_assume(c, at, amount, cap)
    local number = min(div(at, c.width), c.head)

    if number >= oldest(c) then
        window_add(c, number, min(amount, max(cap - c.total, 0)))
    end
end

-- What must be assumed of the time from `asked` on begins here (window_reach_us() of policy/window.c). It
-- reads g, which is KEYS[1].
local function reach(asked, born)
    local began

    if asked >= born then
        return asked
    end
    began = (tonumber(call('HGET', KEYS[1], 'began')) or 0) * 1000
    if born - asked <= KEPT or (began > 0 and born >= began and born < began + KEPT) then
        return born
    end
    return asked
end

local function window_set_period(c, period, now, cap)
    local old = {src = c.src, at = c.at, head = c.head, width = c.width}
    local old_period, born, seen, known = c.period, c.born, c.seen, oldest(c) * c.width
    local asked

    now = max(now, c.head * c.width)
    window_init(c, period, now)
    c.born, c.seen = born, seen
    for b = oldest(old), old.head do
        local n = count_at(old, b)
        local number = div(min((b + 1) * old.width - 1, now), c.width)

        if n > 0 and number >= oldest(c) then
            window_add(c, number, n)
        end
    end
    asked = reach(oldest(c) * c.width, c.born)
    if asked < known then
        local times = div(known - asked + old_period - 1, old_period)

        window_assume(c, known - 1, seen > div(CAP_MAX, times) and CAP_MAX or times * seen, cap)
    end
end

local function window_frees_at(c, need)
    local freed, b = 0, oldest(c)

    while b < c.head do
        freed = freed + count_at(c, b)
        if freed >= need then
            break
        end
        b = b + 1
    end
    return (b + SLOTS) * c.width
end

-- rate ------------------------------------------------------------------------------------------------------

local function scale(c)
    local stretched = c.period + lifetime(c.period) + 1000
    local tick, period = 1, stretched

    while period > 1000 and c.burst > div(EXACT_MAX, period) do
        tick = tick * 1000
        period = div(stretched + tick - 1, tick)
    end
    return tick, period
end

local function rate_init(c, n, period, burst, now)
    c.n, c.period, c.burst = n, period, burst
    c.level, c.base, c.rest, c.last, c.born, c.seen = 0, now, 0, 0, now, 0
end

local function rate_turn(c, now)
    local tick, period, ticks, leaked

    if now <= c.base then
        return
    end
    tick, period = scale(c)
    ticks = div(now - c.base, tick)
    if c.level == 0 or ticks > div(c.level * period - c.rest, c.n) then
        c.level, c.rest, c.base = 0, 0, now
        return
    end
    leaked = div(ticks * c.n + c.rest, period)
    c.rest = ticks * c.n + c.rest - leaked * period
    c.level = c.level - leaked
    c.base = c.base + ticks * tick
end

local function rate_set(c, n, period, burst)
    local _, ticks

    c.n, c.period, c.burst, c.rest = n, period, burst, 0
    _, ticks = scale(c)
    c.level = min(c.level, div(4 * EXACT_MAX, ticks))
end

local function rate_frees_at(c, need)
    local tick, period = scale(c)

    return c.base + div(need * period - c.rest + c.n - 1, c.n) * tick
end

-- spike -----------------------------------------------------------------------------------------------------
-- c.hours holds the 169 counts of hours; hour h is number fmod(h, 169). c.day is the newest, c.peak what is
-- usual.

local function hour_count(c, hour)
    return (unpack(COUNT, c.hours, fmod(hour, HOURS) * 6 + 1))
end

local function set_hour(c, hour, n)
    local at = fmod(hour, HOURS) * 6

    c.hours = sub(c.hours, 1, at) .. pack(COUNT, n) .. sub(c.hours, at + 7)
end

local function spike_init(c, now)
    c.hours, c.day, c.peak, c.step, c.held = rep('\0', HOURS_SIZE), div(now, HOUR_US), 0, 0, 0
end

local function find_usual(c)
    local used, none, middle = {}, 0, 0

    for hour = c.day + 1, c.day + HOURS - 1 do -- every slot but that of c.day
        local n = hour_count(c, hour)

        if n > 0 then
            used[#used + 1] = n
        end
    end
    table.sort(used)
    none = max(24 - #used, 0)
    middle = div(none + #used + 1, 2)
    return used[middle - none] or 0
end

local function spike_turn(c, now)
    local to = div(now, HOUR_US)

    if to <= c.day then
        return false
    end
    if to - c.day >= HOURS then
        spike_init(c, now)
        return true
    end
    for hour = c.day + 1, to do
        set_hour(c, hour, 0)
    end
    c.day = to
    c.peak = find_usual(c)
    return true
end

local function spike_take(c, n)
    set_hour(c, c.day, min(hour_count(c, c.day) + n, CAP_MAX))
end

local function spike_give(c, n, at)
    local hour = div(at, HOUR_US)

    if hour > c.day or c.day - hour >= HOURS or hour_count(c, hour) < n then
        return
    end
    set_hour(c, hour, hour_count(c, hour) - n)
    if hour < c.day then
        c.peak = find_usual(c)
    end
end

-- counter: a window, a warm-up, a spike or a rate -----------------------------------------------------------

local function counter_used(c)
    return c.kind == KIND_RATE and c.level or c.total
end

local function begin_warmup(c, line, now)
    local today, known = div(now, DAY_US), line[L_IDLE][4]

    c.step, c.day, c.peak, c.held = line[L_STEP], known > 0 and min(known, today) or today, 0, 0
end

-- line: the limit's terms; cap and burst are those in force
local function counter_init(line, cap, burst, now)
    local c = {kind = line[L_KIND], unit = line[L_UNIT], step = 0, day = 0, peak = 0, held = 0}

    if c.kind == KIND_RATE then
        rate_init(c, cap, line[L_PERIOD], burst, now)
        c.seen = min(line[L_CAP] + line[L_BURST], CAP_MAX)
    else
        window_init(c, line[L_PERIOD], now)
        c.seen = c.kind == KIND_SPIKE and CAP_MAX or line[L_CAP]
    end
    if c.kind == KIND_WARMUP then
        begin_warmup(c, line, now)
    elseif c.kind == KIND_SPIKE then
        spike_init(c, now)
    end
    return c
end

local function counter_init_full(line, cap, burst, now)
    local c = counter_init(line, cap, burst, now)

    if c.kind == KIND_RATE then
        c.level = burst
    else
        window_assume(c, now, CAP_MAX, cap)
    end
    c.seen, c.born, c.changed = CAP_MAX, 0, true
    return c
end

local function window_to_rate(c, line, cap, burst, now)
    local used, born = c.total, c.born

    rate_init(c, cap, line[L_PERIOD], burst, now)
    c.level, c.born, c.seen = used, born, CAP_MAX
    rate_set(c, cap, line[L_PERIOD], burst)
end

local function rate_to_window(c, line, cap, now)
    local born, seen, old_period, times = c.born, c.seen, c.period

    now = max(now, c.base)
    window_init(c, line[L_PERIOD], now)
    c.born, c.seen = born, seen
    times = div(now - reach(oldest(c) * c.width, born), old_period) + 1
    window_assume(c, now, seen > div(CAP_MAX, times) and CAP_MAX or times * seen, cap)
end

local function counter_turn(c, line, cap, burst, now)
    local kind = line[L_KIND]

    if c.kind == KIND_RATE then
        rate_turn(c, now)
    else
        window_turn(c, now)
    end
    if c.kind == KIND_SPIKE then
        c.changed = spike_turn(c, now)
    end
    if c.unit ~= line[L_UNIT] then
        local full = counter_init_full(line, cap, burst, now)

        if kind == KIND_WARMUP and c.step > 0 then
            full.step, full.day, full.peak, full.held = c.step, c.day, c.peak, c.held
        end
        return full
    end
    if c.kind ~= kind then
        if kind == KIND_RATE then
            window_to_rate(c, line, cap, burst, now)
        elseif c.kind == KIND_RATE then
            rate_to_window(c, line, cap, now)
        end
        if kind == KIND_WARMUP then
            begin_warmup(c, line, now)
        elseif kind == KIND_SPIKE then
            spike_init(c, now)
        end
        c.kind, c.changed = kind, true
    end
    if kind == KIND_RATE then
        if c.n ~= cap or c.period ~= line[L_PERIOD] or c.burst ~= burst then
            rate_set(c, cap, line[L_PERIOD], burst)
            c.changed = true
        end
    elseif c.period ~= line[L_PERIOD] then
        window_set_period(c, line[L_PERIOD], now, cap)
        c.changed = true
    end
    return c
end

-- What counter_used() may reach under a cap and burst in force (counter_most() of policy/counter.c).
local function counter_most(c, cap, burst)
    if c.kind == KIND_RATE then
        return c.burst
    end
    return c.kind == KIND_SPIKE and ceiling_of(c.peak, cap, burst) or cap
end

local function counter_take(c, n, cap, now)
    if c.kind == KIND_RATE then
        local _, ticks = scale(c)
        local most = min(c.n + c.burst, div(4 * EXACT_MAX, ticks)) -- beyond the burst only in shadow

        c.level = max(c.level, min(c.level + n, most))
        c.last, c.seen = now, max(c.seen, min(c.n + c.burst, CAP_MAX))
        return
    end
    window_add(c, c.head, min(n, max(CAP_MAX - c.total, 0)))
    c.seen = max(c.seen, cap)
    if c.kind == KIND_WARMUP then
        c.peak = max(c.peak, c.total)
    elseif c.kind == KIND_SPIKE then
        spike_take(c, n)
    end
end

-- The step after so many days without mail (policy/warmup.c).
local function step_after_idle(step, days, idle)
    local decay, restart, again = idle[1], idle[2], div(step * idle[3], 100)
    local left = max(step - (decay > 0 and div(days, decay) or 0), 1)

    if restart > 0 and days >= restart then
        left = max(min(left, again), 1)
    end
    return left
end

-- Does an operator hold the warm-ups of this scope ("number:instance")? What cannot be read holds them. It
-- reads g, which is KEYS[1].
local function is_frozen(scope, now)
    local text = call('HGET', KEYS[1], 'p:' .. scope .. ':w')
    local till = text and tonumber((string.match(text, '^w (%d+) ')))

    if not text or byte(text) == 114 then -- 'r': resumed
        return false
    end
    return not till or till == 0 or till * 1000 > now
end

-- The day rule of policy/warmup.h. -> 1: one step on, -1: it fell, 0
local function turn_day(c, now, line, scope)
    local today, turn = div(now, DAY_US), 0
    local left

    if today <= c.day then
        return 0
    end
    left = step_after_idle(c.step, today - c.day - 1, line[L_IDLE])
    if left < c.step then
        c.step, turn = left, -1
    elseif c.held == 0 and c.step < 1000 and c.peak * 100 >= line[L_CAP] * line[L_USE]
        and not is_frozen(scope, now) then
        c.step, turn = c.step + 1, 1
    end
    c.day, c.peak, c.held = today, 0, 0
    return turn
end

local function counter_frees_at(c, need)
    return c.kind == KIND_RATE and rate_frees_at(c, need) or window_frees_at(c, need)
end

-- the packed state of a scope instance ----------------------------------------------------------------------

-- -> {value, entries by name, entries in order}; an entry is {name, first byte, last byte, body,
--   kind, period}
local function load_state(key)
    local value = call('GET', key)
    local state = {value = value, named = {}, list = {}}
    local at = 2

    if not value then
        return state
    end
    if byte(value) ~= SCHEMA then
        error({err = 'SCHEMA ' .. key .. ' was written by another version of sendgov'})
    end
    while at <= #value do
        local size, name, kind, _, period, after = unpack('>I2Bc0BBI8', value, at)
        local entry = {name = name, first = at, last = at + 1 + size, body = after - 10,
            kind = kind, period = period}

        state.named[name] = entry
        state.list[#state.list + 1] = entry
        at = at + 2 + size
    end
    return state
end

local function load_counter(state, entry)
    local c = {src = state.value, at = entry.body + WINDOW_SIZE, step = 0, day = 0, peak = 0, held = 0}

    if entry.kind == KIND_RATE then
        c.kind, c.unit, c.period, c.n, c.burst, c.level, c.base, c.rest, c.last, c.born, c.seen =
            unpack(RATE, state.value, entry.body)
    else
        c.kind, c.unit, c.period, c.head, c.total, c.born, c.seen, c.step, c.day, c.peak, c.held =
            unpack(WINDOW, state.value, entry.body)
        c.width = width(c.period)
    end
    if c.kind == KIND_SPIKE then
        c.hours = sub(state.value, c.at + COUNTS_SIZE, c.at + COUNTS_SIZE + HOURS_SIZE - 1)
    end
    return c
end

local function counter_to_entry(c, name)
    if c.kind == KIND_RATE then
        return pack('>I2Bc0', 1 + #name + RATE_SIZE, #name, name)
            .. pack(RATE, c.kind, c.unit, c.period, c.n, c.burst, c.level, c.base, c.rest, c.last, c.born,
                c.seen)
    end
    local hours = c.kind == KIND_SPIKE and c.hours or ''

    return concat({pack('>I2Bc0', 1 + #name + WINDOW_SIZE + COUNTS_SIZE + #hours, #name, name),
        pack(WINDOW, c.kind, c.unit, c.period, c.head, c.total, c.born, c.seen, c.step, c.day, c.peak,
            c.held),
        sub(c.src, c.at, c.at + COUNTS_SIZE - 1), hours})
end

-- An entry nobody asked for and that would no longer be kept by itself: the limit was renamed or removed.
local function is_stale(state, entry, now)
    local c = load_counter(state, entry)
    local base = c.base

    if c.kind == KIND_WARMUP then
        return (c.head + SLOTS) * c.width + 40 * DAY_US < now
    elseif c.kind == KIND_SPIKE then
        return (c.day + HOURS) * HOUR_US + KEPT < now
    elseif c.kind == KIND_WINDOW then
        return (c.head + SLOTS) * c.width + KEPT < now
    end
    rate_turn(c, now)
    return c.level == 0 and base + c.period + KEPT < now
end

-- Writes the state with the counters in `new` (by name) in their places. It lives for its longest period
-- + 2 h; a warm-up is remembered for 40 days of silence.
local function save_state(key, state, new, now)
    local parts, live = {string.char(SCHEMA)}, 0
    local crowded = #state.list > 24

    for _, entry in ipairs(state.list) do
        local c = new[entry.name]

        if c then
            parts[#parts + 1] = counter_to_entry(c, entry.name)
            live = max(live, kept_for(c.kind, c.period))
            new[entry.name] = nil
        elseif not (crowded and is_stale(state, entry, now)) then
            parts[#parts + 1] = sub(state.value, entry.first, entry.last)
            live = max(live, kept_for(entry.kind, entry.period))
        end
    end
    for name, c in pairs(new) do
        parts[#parts + 1] = counter_to_entry(c, name)
        live = max(live, kept_for(c.kind, c.period))
    end
    call('SET', key, concat(parts), 'PX', div(live + KEPT, 1000))
end

-- whom an instance knows ------------------------------------------------------------------------------------

-- of person number i of `people` -> bucket, tag
local function person_at(people, i)
    return unpack('>I2', people, 7 * i - 6), sub(people, 7 * i - 4, 7 * i)
end

-- -> {key, buckets by number, changed by number}: those of the people
local function load_known(key, people)
    local known = {key = key, buckets = {}, changed = {}}
    local numbers = {}

    for i = 1, #people / 7 do
        local number = person_at(people, i)

        if not known.buckets[number] then
            known.buckets[number] = ''
            numbers[#numbers + 1] = number
        end
    end
    for i, value in ipairs(call('HMGET', key, list_unpack(numbers))) do
        known.buckets[numbers[i]] = value or ''
    end
    return known
end

-- Where in the bucket the tag is, and the hour it has there; nil: nowhere.
local function find_known(bucket, tag)
    for at = 1, #bucket, 8 do
        if sub(bucket, at, at + 4) == tag then
            return at, (unpack('>I3', bucket, at + 5))
        end
    end
end

-- The bucket without those that were not charged for `hours`, and without the oldest if it is full.
local function make_room(bucket, hour, hours)
    local kept, least, oldest = {}, nil, nil

    for at = 1, #bucket, 8 do
        local of = unpack('>I3', bucket, at + 5)

        if hour < of + hours then
            kept[#kept + 1] = sub(bucket, at, at + 7)
            if not least or of < least then
                least, oldest = of, #kept
            end
        end
    end
    if #kept == 32 then
        table.remove(kept, oldest)
    end
    return concat(kept)
end

local function add_known(known, number, tag, hour, hours)
    local bucket = known.buckets[number]
    local at, of = find_known(bucket, tag)

    if at and of == hour then
        return
    elseif at then
        bucket = sub(bucket, 1, at + 4) .. pack('>I3', hour) .. sub(bucket, at + 8)
    else
        bucket = make_room(bucket, hour, hours) .. tag .. pack('>I3', hour)
    end
    known.buckets[number], known.changed[number] = bucket, true
end

local function forget_known(known, number, tag, hour)
    local bucket = known.buckets[number]
    local at, of = find_known(bucket, tag)

    if at and of == hour then
        known.buckets[number] = sub(bucket, 1, at - 1) .. sub(bucket, at + 8)
        known.changed[number] = true
    end
end

-- hours: kept for so long, or nil: for as long as before
local function save_known(known, hours)
    local pairs_set, gone = {}, {}

    for number in pairs(known.changed) do
        if known.buckets[number] == '' then
            gone[#gone + 1] = number
        else
            pairs_set[#pairs_set + 1], pairs_set[#pairs_set + 2] = number, known.buckets[number]
        end
    end
    if #gone > 0 then
        call('HDEL', known.key, list_unpack(gone))
    end
    if #pairs_set > 0 then
        call('HSET', known.key, list_unpack(pairs_set))
    end
    if hours then
        call('PEXPIRE', known.key, hours * 3600000 + KEPT / 1000)
    end
end

-- Caps by step, as store_caps.c packs them; the last goes on for ever, and what has no steps has one.
local function cap_at(caps, step)
    return (unpack(COUNT, caps, (max(min(step, #caps / COUNT_SIZE), 1) - 1) * COUNT_SIZE + 1))
end

-- What lowers caps for a time: other nodes' stricter configuration ("c:" fields, all nodes alike: the burst,
-- the period in ms, then the caps by step) and the upstream's word ("b:" fields, for one instance). The
-- period of such a line becomes the longer one; where it was the shorter, line.longer is true. A line in
-- shadow that another node enforces ("e:" fields) is enforced here too, by the cap of those who do.
-- -> by line: caps, bursts, caps of the step after; nil where nothing does
local function load_lowered(key, mixed, scopes, counts, lines, now)
    local caps, bursts, nexts, fields, i = {}, {}, {}, {}, 0

    if not mixed or mixed == '' or #lines == 0 then
        return caps, bursts, nexts
    end
    for s, count in ipairs(counts) do
        for _ = 1, count do
            i = i + 1
            fields[3 * i - 2] = 'c:' .. lines[i][L_NAME]
            fields[3 * i - 1] = 'b:' .. scopes[s] .. ':' .. lines[i][L_NAME]
            fields[3 * i] = 'e:' .. lines[i][L_NAME]
        end
    end
    fields = call('HMGET', key, list_unpack(fields))
    for k = 1, i do
        local common, own, step = fields[3 * k - 2], fields[3 * k - 1], lines[k][L_STEP]
        if common then
            local by_step = sub(common, 2 * COUNT_SIZE + 1)
            local period = cap_at(common, 2) * 1000

            if period > lines[k][L_PERIOD] then
                lines[k][L_PERIOD], lines[k].longer = period, true
            end
            bursts[k], caps[k], nexts[k] = cap_at(common, 1), cap_at(by_step, step), cap_at(by_step, step + 1)
            if fields[3 * k] and lines[k][L_SHADOW] == 1 then
                lines[k][L_SHADOW] = 0
                lines[k][L_CAP] = max(lines[k][L_CAP], caps[k])
                lines[k][L_BURST] = max(lines[k][L_BURST], bursts[k])
            end
        end
        if own then
            local cap, till = string.match(own, '^(%d+) (%d+)')

            if tonumber(till) > now then
                cap = tonumber(cap)
                caps[k], nexts[k] = min(caps[k] or CAP_MAX, cap), min(nexts[k] or CAP_MAX, cap)
            end
        end
    end
    return caps, bursts, nexts
end
