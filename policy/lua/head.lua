-- head: the words every script of sendgov begins with; common.lua follows. It is apart because
-- charge_usual.lua comes between: what is defined after it costs a usual charge nothing.
--
-- Numbers are doubles, exact up to 2^53. Times are Redis time in microseconds (below 2^51), caps are at most
-- 2^47, and every product below stays under 2^53 (rate.h says how). Division is always div(), which is exact.
--
-- A scope instance's key holds one string: byte 1 (the version), then an entry per limit:
--   2 bytes  length of the rest of the entry
--   1 byte   length of the limit's name, then the name
--   window and warm-up: WINDOW, then 65 counts of 6 bytes;  rate: RATE
--   spike: as a window, then 169 counts of hours; `day` is the number of the newest hour, `peak` the usual
--
-- Whom an instance knows (policy/known.h) is a hash: number of the bucket -> entries of 8 bytes, a tag of 5
-- and the hour of the last charge. A request names people by 7 bytes each: bucket (2) and tag.
local call = redis.call
local byte, sub, rep, concat = string.byte, string.sub, string.rep, table.concat
local pack, unpack, list_unpack = struct.pack, struct.unpack, unpack
local fmod, min, max, floor = math.fmod, math.min, math.max, math.floor

local function clock() local t = call('TIME'); return t[1] * 1000000 + t[2] end

-- kind unit period head total born seen | step day peak held
local WINDOW, WINDOW_SIZE = '>BBI8I8I8I8I8I2I4I8B', 57
-- kind unit period n burst level base rest last born seen
local RATE, RATE_SIZE = '>BBI8I8I8I8I8I8I8I8I8', 74
local COUNT, COUNT_SIZE, SLOTS = '>I6', 6, 65
local COUNTS_SIZE = SLOTS * COUNT_SIZE
local UNIT_NEW = 4
local HOURS, HOURS_SIZE, HOUR_US = 169, 1014, 3600000000
local KIND_WINDOW, KIND_RATE, KIND_WARMUP, KIND_SPIKE = 0, 1, 3, 4
local CAP_MAX = 2 ^ 47
local EXACT_MAX = 2 ^ 50
local DAY_US = 86400000000
local KEPT = 7200000000 -- a counter is kept unused for its period and so much more: kept_for()
local SCHEMA = 1

-- fields of a line of a request, as store_codec.c packs them
local L_NAME, L_KIND, L_UNIT, L_PERIOD, L_CAP, L_NEXT, L_BURST = 1, 2, 3, 4, 5, 6, 7
local L_FIXED, L_EACH, L_STEP, L_USE, L_DAY, L_EXPECTED, L_CHARGED = 8, 9, 10, 11, 12, 13, 14
local L_IDLE = 15 -- of a warm-up: {decay days, restart days, restart percent, day of the step}
local L_KNOWN = 16 -- of a limit of new recipients: how many hours one is known
local L_SHADOW = 17

local function div(a, b)
    return (a - fmod(a, b)) / b
end

local function kept_for(kind, period)
    return kind == KIND_WARMUP and 40 * DAY_US or kind == KIND_SPIKE and HOURS * HOUR_US or period
end

-- spike_ceiling() of policy/spike.c
local function ceiling_of(usual, least, factor)
    local thousands = div(usual, 1000)

    if thousands > div(CAP_MAX, factor) then
        return CAP_MAX
    end
    return max(least, min(CAP_MAX, thousands * factor + div(fmod(usual, 1000) * factor, 1000)))
end

local function lifetime(period)
    return min(div(period, 40), 1000000)
end

local function width(period)
    return div(period + lifetime(period) + 1000 + 63, 64)
end
