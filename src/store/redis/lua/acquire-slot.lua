-- Takes one request and one slot of a handle's budget, or neither.
-- KEYS: the handle's state, its slots (by the time at which each lapses).
-- ARGV: slot, how many slots there may be, now, when the slot lapses, how long to keep it all (times in milliseconds).
-- Answers {'granted', bytes left}, or what is exhausted, or 'missing' when the state is gone or from another life of this server.
local handle, slots = KEYS[1], KEYS[2]
local slot, max_concurrent, now, lapses_at, keep_for = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local state = redis.call('HMGET', handle, 'run', 'requests', 'bytes')
if state[1] ~= run then return {'missing'} end
local requests, bytes = tonumber(state[2]), tonumber(state[3])

local held_until = redis.call('ZSCORE', slots, slot)
if held_until and tonumber(held_until) > now then return {'granted', math.max(bytes, 0)} end
if bytes <= 0 then return {'bytes'} end
if requests <= 0 then return {'requests'} end
if redis.call('ZCOUNT', slots, '(' .. ARGV[3], '+inf') >= max_concurrent then return {'concurrency'} end

-- First what needs room: a server that is full refuses that alone, and only as a script's first write.
redis.call('HINCRBY', handle, 'requests', -1)
redis.call('ZREMRANGEBYSCORE', slots, '-inf', ARGV[3])
redis.call('ZADD', slots, lapses_at, slot)
redis.call('PEXPIRE', handle, keep_for)
redis.call('PEXPIRE', slots, keep_for)
return {'granted', bytes}
