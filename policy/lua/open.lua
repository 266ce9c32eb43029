-- open: the operator says that the counters may be trusted although memory was lost.
-- KEYS: g. -> {1 | 0 there is nothing to open, time}
local now = clock()

if not call('HGET', KEYS[1], 'epoch') then
    return {0, now}
end
call('HSET', KEYS[1], 'open_at', div(now, 1000), 'trusted', div(now, 1000))
return {1, now}
