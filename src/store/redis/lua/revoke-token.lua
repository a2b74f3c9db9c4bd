-- Marks a token as revoked, for as long as the latest of those who say so say.
-- KEYS: the mark. ARGV: until when, how long to keep it (milliseconds).
local marked_until = tonumber(redis.call('GET', KEYS[1]) or 0)
if tonumber(ARGV[1]) > marked_until then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
