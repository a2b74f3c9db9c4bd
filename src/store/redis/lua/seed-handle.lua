-- Begins a handle's state from what the repository knows, unless another process was first.
-- KEYS: the handle's state, its slots.
-- ARGV: requests left, bytes left, when the handle ends, how long to keep it all (times in milliseconds), then each open call's slot
-- and when that lapses.
local handle, slots = KEYS[1], KEYS[2]

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
if redis.call('HGET', handle, 'run') == run then return end

-- What comes from a snapshot or from a replica that lagged behind is older than what the repository knows.
if redis.call('EXISTS', handle, slots) > 0 then redis.call('DEL', handle, slots) end
redis.call('HSET', handle, 'run', run, 'requests', ARGV[1], 'bytes', ARGV[2], 'ends_at', ARGV[3])
redis.call('PEXPIRE', handle, ARGV[4])
for i = 5, #ARGV, 2 do redis.call('ZADD', slots, ARGV[i + 1], ARGV[i]) end
redis.call('PEXPIRE', slots, ARGV[4])
