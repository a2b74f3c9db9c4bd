-- KEYS: the handle's state, its slots. ARGV: now (milliseconds).
-- Answers how many slots have not lapsed, or -1 when the state is gone or from another life of this server.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
if redis.call('HGET', KEYS[1], 'run') ~= run then return -1 end
return redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[1], '+inf')
