"""What an outbox does inside Redis: each script is one step that nobody else sees half of.

A stream holds one entry a group: n events, the oldest's time t, the origin o, the body b. A hash counts them, since
to count a stream's bytes would take reading it. Commands that Redis refuses when it is out of memory come after those
that it never does, in scripts that free memory: from the first write on, a script may go on.

The consumer "(released)" holds what was given back. It is never alive, so the next claim takes over from it.
"""

from typing import Final

_REMOVE: Final = """
local function remove(id, bytes, events)
  if redis.call('XACK', stream, group, id) == 0 then return false end
  redis.call('XDEL', stream, id)
  redis.call('HINCRBY', sizes, 'bytes', -bytes)
  redis.call('HINCRBY', sizes, 'events', -events)
  return true
end
"""
"""Needs `stream`, `sizes` and `group`."""

_CLAIM: Final = """
local events, bytes, claimed = 0, 0, {}
local function enough() return events >= max_events or bytes >= max_bytes end
local function take(entries)
  for _, entry in ipairs(entries or {}) do
    if entry and entry[2] then
      local fields = entry[2]
      events, bytes = events + tonumber(fields[2]), bytes + #fields[8]
      claimed[#claimed + 1] = known[entry[1]] and {entry[1], known[entry[1]]}
        or {entry[1], fields[2], fields[4], fields[6], fields[8]}
    end
  end
end
local function take_over(consumers)
  for _, consumer in ipairs(consumers or {}) do
    local name = consumer[1]
    if name ~= me and not enough() and redis.call('EXISTS', alive .. name) == 0 then
      local held = redis.call('XPENDING', stream, group, '-', '+', 1000, name)
      for _, entry in ipairs(held) do
        if enough() then break end
        take(redis.call('XCLAIM', stream, group, me, 0, entry[1]))
      end
      if #redis.call('XPENDING', stream, group, '-', '+', 1, name) == 0 then
        redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
      end
    end
  end
end
local function claim()
  take_over(redis.call('XPENDING', stream, group)[4])
  while not enough() do
    local answer = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', stream, '>')
    if not answer or not answer[1] then break end
    take(answer[1][2])
  end
  return claimed
end
"""
"""Needs `stream`, `group`, `me`, `alive`, `max_events`, `max_bytes`, and `known`: the bodies of these entries' IDs stay
here, and the number found for them comes instead."""

EXCHANGE: Final = (
    """
redis.replicate_commands()  -- Redis 6 asks for it, before it lets a script write what it has read
local told = cjson.decode(ARGV[1])
local stream, sizes, mark, group, me, alive = KEYS[1], KEYS[2], KEYS[3], told.group, told.me, told.alive
local max_events, max_bytes, bound, known = told.max_events, told.max_bytes, tonumber(told.bound), {}
"""
    + _REMOVE
    + _CLAIM
    + """
if told.number <= tonumber(redis.call('GET', mark) or '0') then return 1 end  -- the answer was lost, not the groups
local freed, added, added_events = 0, 0, 0
for _, done in ipairs(told.done) do freed = freed + done[2] end
for i, row in ipairs(told.groups) do added, added_events = added + #ARGV[i + 1], added_events + row[1] end
if added > 0 and tonumber(redis.call('HGET', sizes, 'bytes') or '0') - freed + added > bound then return 0 end
for i, row in ipairs(told.groups) do
  local id = redis.call('XADD', stream, '*', 'n', row[1], 't', row[2], 'o', row[3], 'b', ARGV[i + 1])
  known[id] = i - 1
end
redis.call('HINCRBY', sizes, 'bytes', added)
redis.call('HINCRBY', sizes, 'events', added_events)
redis.call('SET', mark, told.number, 'EX', 3600)
-- From here on nothing may fail: it is stored. Without a group there is nothing to settle, and claiming waits.
if redis.pcall('XPENDING', stream, group).err then return {} end
for _, done in ipairs(told.done) do remove(done[1], done[2], done[3]) end
if max_events == 0 then return {} end
redis.call('SET', alive .. me, '1', 'PX', told.alive_ms)
return claim()
"""
).encode()
"""Its first argument is JSON, since each argument takes its time in the client; the bodies of `groups` follow."""

CLAIM: Final = (
    """
redis.replicate_commands()
local stream, group, me, alive, known = KEYS[1], ARGV[1], ARGV[2], ARGV[3], {}
local max_events, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
"""
    + _CLAIM
    + "return claim()\n"
)

BEAT: Final = """
if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
"""

SETTLE: Final = (
    """
redis.replicate_commands()
local stream, sizes, rejected, group, me = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local at = 3
local function argument() at = at + 1; return ARGV[at - 1] end
"""
    + _REMOVE
    + """
for _ = 1, tonumber(argument()) do
  remove(argument(), tonumber(argument()), tonumber(argument()))
end
for _ = 1, tonumber(argument()) do
  local id = argument()
  local held = redis.call('XPENDING', stream, group, id, id, 1)
  if held[1] and held[1][2] == me then redis.call('XCLAIM', stream, group, '(released)', 0, id, 'JUSTID') end
end
for _ = 1, tonumber(argument()) do
  local id, bytes, events = argument(), tonumber(argument()), tonumber(argument())
  local n, t, o, b = argument(), argument(), argument(), argument()
  if remove(id, bytes, events) then
    redis.call('XADD', stream, '*', 'n', n, 't', t, 'o', o, 'b', b)
    redis.call('HINCRBY', sizes, 'bytes', #b)
    redis.call('HINCRBY', sizes, 'events', n)
  end
end
for _ = 1, tonumber(argument()) do
  redis.call('XADD', rejected, 'MAXLEN', '~', 100000, '*',
    't', argument(), 's', argument(), 'm', argument(), 'e', argument())
end
return 1
"""
)

RELEASE: Final = """
redis.replicate_commands()
local stream, group, me, known = KEYS[1], ARGV[1], ARGV[2], {}
for i = 3, #ARGV do known[ARGV[i]] = true end
local from = '-'
while true do
  local held = redis.call('XPENDING', stream, group, from, '+', 1000, me)
  for _, entry in ipairs(held) do
    if not known[entry[1]] then redis.call('XCLAIM', stream, group, '(released)', 0, entry[1], 'JUSTID') end
  end
  if #held < 1000 then return 1 end
  from = '(' .. held[#held][1]
end
"""
