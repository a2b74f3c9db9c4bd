-- Gives a key to the first value that asks for it.
-- KEYS: the claim. ARGV: value, when it ends, now, how long to keep it (milliseconds).
-- Answers 'yes' or 'no'.
local value, ends_at, now = ARGV[1], ARGV[2], tonumber(ARGV[3])

local held = redis.call('HMGET', KEYS[1], 'ends_at', 'value')
if held[1] and tonumber(held[1]) > now then return held[2] == value and 'yes' or 'no' end
-- What is over at once would let everybody be the first.
if tonumber(ends_at) <= now then return 'no' end

redis.call('HSET', KEYS[1], 'ends_at', ends_at, 'value', value)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 'yes'
