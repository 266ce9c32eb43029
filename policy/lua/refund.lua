-- refund: takes a charge of which nothing was offered back out of the buckets it came from, or nowhere.
-- KEYS: g, then one state key per scope instance that has limits, then one per instance that has limits of
--   new recipients. ARGV[1]: msgpack of {epoch, time of the charge, {name, amount} per line, lines per scope,
--   of each of the last keys the people who were new and are so again}
-- -> how many limits took it back
local epoch, at, lines, counts, strangers = list_unpack(cmsgpack.unpack(ARGV[1]))
local now, i, key, given = clock(), 0, 1, 0

local function give(c, n)
    if c.kind == KIND_RATE then
        if c.last ~= at then
            return false
        end
        c.level, c.last = max(c.level - n, 0), 0
        return true
    end
    local number = div(at, c.width)

    if number > c.head or number < oldest(c) or count_at(c, number) < n then
        return false
    end
    set_count(c, number, count_at(c, number) - n)
    c.total = c.total - n
    if c.kind == KIND_SPIKE then
        spike_give(c, n, at)
    end
    return true
end

if call('HGET', KEYS[1], 'epoch') ~= epoch then
    return 0
end
for _, count in ipairs(counts) do
    local state, new = nil, {}

    if count > 0 then
        key = key + 1
        state = load_state(KEYS[key])
    end
    for _ = 1, count do
        i = i + 1
        local entry = state.named[lines[i][1]]
        local c = entry and load_counter(state, entry)

        if c and give(c, lines[i][2]) then
            new[entry.name] = c
            given = given + 1
        end
    end
    if next(new) then
        save_state(KEYS[key], state, new, now)
    end
end
for i, people in ipairs(strangers) do
    local known = people ~= '' and load_known(KEYS[key + i], people)

    for k = 1, #people / 7 do
        local number, tag = person_at(people, k)

        forget_known(known, number, tag, div(at, HOUR_US))
    end
    if known then
        save_known(known)
    end
end
return given
