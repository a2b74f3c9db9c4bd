-- Takes bytes from a handle's budget, or all that is left when that is less.
-- KEYS: the handle's state, its slots.
-- ARGV: bytes, whose tally they are the sum of, now (milliseconds). Without a tally they are one amount.
-- A tally is charged for what it has grown since it was charged last: said twice it costs once, and where the state was lost and
-- seeded again, its next amount pays for all of it.
-- Answers 'paid', 'exhausted', or 'missing' when the state is gone or from another life of this server.
local handle, slots = KEYS[1], KEYS[2]
local due, tally, now = tonumber(ARGV[1]), 'tally:' .. ARGV[2], tonumber(ARGV[3])

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local state = redis.call('HMGET', handle, 'run', 'bytes', 'ends_at', tally)
if state[1] ~= run then return 'missing' end
local left, ends_at, charged = tonumber(state[2]), tonumber(state[3]), tonumber(state[4] or 0)

-- After a handle's end only the calls under way pay.
if ends_at < now and redis.call('ZCOUNT', slots, '(' .. ARGV[3], '+inf') == 0 then return 'exhausted' end

if ARGV[2] ~= '' then
  if due <= charged then return left < 0 and 'exhausted' or 'paid' end
  redis.call('HSET', handle, tally, ARGV[1])
  due = due - charged
end
if due > left then
  -- Less than nothing, so that an amount which comes late does not pass as paid.
  redis.call('HSET', handle, 'bytes', -1)
  return 'exhausted'
end
redis.call('HINCRBY', handle, 'bytes', -due)
return 'paid'
