-- Gives a proof of possession to its first use, and to none when an earlier use may have been forgotten.
-- KEYS: the claim, since when claims are remembered.
-- ARGV: value, when the claim ends, now, how long to keep it, the longest that a claim may end after the proof could first have been
-- used, how long to keep the second key (times in milliseconds).
-- Answers 'yes', 'no' or 'unsure'.
local claim, memory = KEYS[1], KEYS[2]
local value, ends_at, now = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- Claims are remembered since the second key was first missed. A server that was started again, or has taken another's place, may
-- have it from a snapshot or a lagging copy that lacks the claims that came after.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local remembered = redis.call('HMGET', memory, 'run', 'since')
local since = tonumber(remembered[2])
if remembered[1] ~= run then
  since = now
  redis.call('HSET', memory, 'run', run, 'since', ARGV[3])
end

local function answer()
  local held = redis.call('HMGET', claim, 'ends_at', 'value')
  if held[1] and tonumber(held[1]) > now then return held[2] == value and 'yes' or 'no' end
  -- What is over at once would let everybody be the first.
  if tonumber(ends_at) <= now then return 'no' end
  if tonumber(ends_at) <= since + tonumber(ARGV[5]) then return 'unsure' end
  redis.call('HSET', claim, 'ends_at', ends_at, 'value', value)
  redis.call('PEXPIRE', claim, ARGV[4])
  return 'yes'
end

local answered = answer()
-- Last: a server that is full refuses the first write of a script that needs room, and no later one.
redis.call('PEXPIRE', memory, ARGV[6])
return answered
