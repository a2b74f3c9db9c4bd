-- Gives a slot back, and forgets the tally that ended with it.
-- KEYS: the handle's state, its slots. ARGV: slot, tally or nothing.
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] ~= '' then redis.call('HDEL', KEYS[1], 'tally:' .. ARGV[2]) end
