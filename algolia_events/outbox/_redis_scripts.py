"""What an outbox does inside Redis: each script is one step that nobody else sees half of.

A stream holds one entry a group: n events, the oldest's time t, the origin o, the body b. A hash counts them, since
to count a stream's bytes would take reading it; another holds what each process did last, so that nothing is done
twice. Commands that Redis refuses when it is out of memory come after those that it never does, in scripts that free
memory: from the first write on, a script may go on.

Whoever holds entries shows each second that he lives, by raising the delivery count of his first one: that needs no
memory of its own in Redis, is there as long as the entry, and does not expire. The consumer "(released)" holds what was
given back, and what dead ones held; each claim begins there.
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

_TAKE: Final = """
local events, bytes, claimed = 0, 0, {}
local function enough() return events >= max_events or bytes >= max_bytes end
local function take(id, fields)
  if fields and #fields == 8 and fields[1] == 'n' and fields[3] == 't' and fields[5] == 'o' and fields[7] == 'b'
      and string.find(fields[2], '^%d+$') and string.find(fields[4], '^%-?%d+$') then
    events, bytes = events + tonumber(fields[2]), bytes + #fields[8]
    claimed[#claimed + 1] = known[id] and {id, known[id]} or {id, fields[2], fields[4], fields[6], fields[8]}
  else  -- deleted, or somebody else's: it stays where it is, and no claim meets it again
    redis.call('XACK', stream, group, id)
  end
end
local function take_released()
  while not enough() do
    local held = redis.call('XPENDING', stream, group, '-', '+', 100, '(released)')
    for _, entry in ipairs(held) do
      if enough() then break end
      local found = redis.call('XCLAIM', stream, group, me, 0, entry[1])[1]
      take(entry[1], found and found[2])
    end
    if #held < 100 then return end
  end
end
local function take_new()
  while not enough() do
    local answer = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', stream, '>')
    local entry = answer and answer[1] and answer[1][2][1]
    if not entry then return end
    take(entry[1], entry[2])
  end
end
"""
"""Needs `stream`, `group`, `me`, `max_events`, `max_bytes`, and `known`: the bodies of these entries' IDs stay here,
and the number found for them comes instead."""

_SIGN_OF: Final = """
local function sign_of(name)
  local first = redis.call('XPENDING', stream, group, '-', '+', 1, name)[1]
  return first and first[1] .. '/' .. first[4] or ''
end
"""
"""Needs `stream` and `group`. A sign of life is the first entry that somebody holds, and how often it counts as
delivered."""

_HOLDERS: Final = """
local function holders()
  local signs = {}
  for _, consumer in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
    local name = consumer[1]
    if name ~= me and name ~= '(released)' then signs[#signs + 1] = {name, sign_of(name)} end
  end
  return signs
end
"""
"""Needs `sign_of()`, `stream`, `group` and `me`."""

_LEAVE: Final = """
local function leave(name, heir, kept)
  local from = '-'
  repeat
    local held = redis.call('XPENDING', stream, group, from, '+', 1000, name)
    for _, entry in ipairs(held) do
      local to = kept[entry[1]] and heir or '(released)'
      redis.call('XCLAIM', stream, group, to, 0, entry[1], 'JUSTID')
      from = '(' .. entry[1]
    end
  until #held < 1000
  redis.pcall('XGROUP', 'DELCONSUMER', stream, group, name)  -- which Redis 6 refuses without memory
end
"""
"""Needs `stream` and `group`."""

_TAKE_OVER: Final = """
local function take_over(at)
  for i = at, #ARGV, 2 do
    if sign_of(ARGV[i]) == ARGV[i + 1] then leave(ARGV[i], '', {}) end
  end
end
"""
"""Needs `sign_of()` and `leave()`. From an index on, arguments are pairs: who is taken for dead, and the sign of life
that has not changed."""

EXCHANGE: Final = (
    """
redis.replicate_commands()  -- Redis 6 asks for it, before it lets a script write what it has read
local terms = cjson.decode(ARGV[1])
local stream, sizes, marks, group, me = KEYS[1], KEYS[2], KEYS[3], terms.group, terms.me
local max_events, max_bytes, bound, known = terms.max_events, terms.max_bytes, tonumber(terms.bound), {}
"""
    + _REMOVE
    + _TAKE
    + _SIGN_OF
    + _LEAVE
    + _TAKE_OVER
    + """
local mark = redis.call('HGET', marks, terms.process)
if mark and terms.number <= tonumber(string.match(mark, '^%d+')) then return 1 end  -- it was done; the answer got lost
local freed, added, added_events = 0, 0, 0
for _, done in ipairs(terms.done) do freed = freed + done[2] end
for i, row in ipairs(terms.groups) do added, added_events = added + #ARGV[i + 1], added_events + row[1] end
if redis.call('XLEN', stream) == 0 then  -- somebody may have deleted the stream alone
  redis.call('DEL', sizes)
  freed = 0
end
if added > 0 and tonumber(redis.call('HGET', sizes, 'bytes') or '0') - freed + added > bound then return 0 end
for i, row in ipairs(terms.groups) do
  local id = redis.call('XADD', stream, '*', 'n', row[1], 't', row[2], 'o', row[3], 'b', ARGV[i + 1])
  known[id] = i - 1
end
redis.call('HINCRBY', sizes, 'bytes', added)
redis.call('HINCRBY', sizes, 'events', added_events)
redis.call('HSET', marks, terms.process, terms.number .. ' ' .. terms.now)
-- From here on nothing may fail: it is stored. Without a group there is nothing to settle, and claiming waits.
if redis.pcall('XPENDING', stream, group).err then return {} end
for _, done in ipairs(terms.done) do remove(done[1], done[2], done[3]) end
if max_events == 0 then return {} end
take_over(#terms.groups + 2)
take_released()
take_new()
return claimed
"""
).encode()
"""Its first argument is JSON, since each argument takes its time in the client; the bodies of `groups` follow, and the
dead."""

CLAIM: Final = (
    """
redis.replicate_commands()
local stream, group, me, known = KEYS[1], ARGV[1], ARGV[2], {}
local max_events, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
"""
    + _TAKE
    + _SIGN_OF
    + _HOLDERS
    + _LEAVE
    + _TAKE_OVER
    + """
take_over(5)
take_released()
take_new()
return {claimed, holders()}
"""
).encode()
"""Its last arguments are the dead."""

BEAT: Final = (
    """
redis.replicate_commands()
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
"""
    + _SIGN_OF
    + _HOLDERS
    + """
local first = redis.call('XPENDING', stream, group, '-', '+', 1, me)[1]
if first then redis.call('XCLAIM', stream, group, me, 0, first[1], 'RETRYCOUNT', first[4] + 1, 'JUSTID') end
return holders()
"""
)

SETTLE: Final = (
    """
redis.replicate_commands()
local stream, sizes, rejected, marks, group, me = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2]
local process, number, now, bound = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local at = 7
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
local letters = tonumber(argument())
if letters == 0 then return 1 end
local mark = redis.call('HGET', marks, process .. ':letters')
if mark and number <= tonumber(string.match(mark, '^%d+')) then return 1 end
for _ = 1, letters do
  redis.call('XADD', rejected, 'MAXLEN', '~', 100000, '*',
    't', argument(), 's', argument(), 'm', argument(), 'e', argument())
end
redis.call('HSET', marks, process .. ':letters', number .. ' ' .. now)
-- An estimate, which a user of the ACL may not be allowed; without it only their number is bounded.
local function size() return tonumber(redis.pcall('MEMORY', 'USAGE', rejected)) or 0 end
local kept = redis.call('XLEN', rejected)
while kept > 1 and size() > bound do  -- the last is kept, however large
  kept = math.floor(kept * 0.9)
  redis.call('XTRIM', rejected, 'MAXLEN', kept)
end
return 1
"""
)

LEAVE: Final = (
    """
redis.replicate_commands()
local stream, group, kept = KEYS[1], ARGV[1], {}
for i = 4, #ARGV do kept[ARGV[i]] = true end
"""
    + _LEAVE
    + "leave(ARGV[2], ARGV[3], kept)\nreturn 1\n"
)
"""Gives back what a name holds, save what is listed: that goes to another name."""

TIDY: Final = """
redis.replicate_commands()
local stream, marks, group, day = KEYS[1], KEYS[2], ARGV[1], 86400
local now = tonumber(redis.call('TIME')[1])
local all = redis.call('HGETALL', marks)
for i = 1, #all, 2 do
  if tonumber(string.match(all[i + 1], '%d+$')) < now - day then redis.call('HDEL', marks, all[i]) end
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  if consumer[4] == 0 and consumer[6] > day * 1000 then
    redis.pcall('XGROUP', 'DELCONSUMER', stream, group, consumer[2])
  end
end
return 1
"""
"""Removes what processes have left behind that died a day ago and held nothing; one that lives does without it."""
