-- open: the operator says that the counters may be trusted although memory was lost.
-- KEYS: g. -> {1 | 0 there is nothing to open, time}
--
-- Connection slots wait on their own for their holders to say so again. A time that was ahead when memory
-- was lost may have put that off for days, so it is at most SAY_AGAIN_MS from now on, which is longer than
-- any node that lives is silent.
local SAY_AGAIN_MS = 5000
local now = clock()
local now_ms = div(now, 1000)
local general = call('HMGET', KEYS[1], 'epoch', 'slots_at')

if not general[1] then
    return {0, now}
end
call('HSET', KEYS[1], 'open_at', now_ms, 'trusted', now_ms,
    'slots_at', min(tonumber(general[2]) or 0, now_ms + SAY_AGAIN_MS))
return {1, now}
