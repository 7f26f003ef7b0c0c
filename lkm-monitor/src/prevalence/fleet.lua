-- Counts what one agent saw of one group, and says how the group stands in the fleet. One call is one atomic step of the server.
--
-- KEYS[1]  the group: events of each day, when the first one was, and until which day it is known to be full
-- KEYS[2]  its agents, of each the last days with their totals
-- ARGV[1]  the agent; ARGV[2] its store, which is another one when it began anew
-- ARGV[3]  days of the window; ARGV[4] agents that are kept of a group: one with more is common
-- ARGV[5…] for each day, the earliest first: its number, this agent's events of it, and how many of these were confirmed to it before
--
-- Returns events and agents within the window, and when the first event was (seconds since 1970); 0 events where a key holds
-- something else than a group.
--
-- An agent sends totals and not increments, so that saying something twice changes nothing: of each agent that is kept the totals
-- of its last days are known here; for other agents and days its own word counts, of what was confirmed.
--
-- The time is the server's: a host with a wrong clock can make nothing expire. What is no number is thrown away. Agents are looked
-- through only as long as there may be few of them.

local DAYS_KEPT = 4
-- Numbers beyond it are not exact.
local LARGEST = 2 ^ 53

local group, members, agent, store = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local window, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call('TIME')[1])
local today = math.floor(now / 86400)
local oldest = today - window + 1

local function number(text)
  local value = tonumber(text)
  return value and value >= 0 and value < LARGEST and value or nil
end

local function forget(key, fields)
  for at = 1, #fields, 100 do
    redis.call('HDEL', key, unpack(fields, at, math.min(at + 99, #fields)))
  end
end

-- The day on which an agent was last seen, and what is behind it, unless that is too long ago.
local function seen(text)
  local of_store, day, days = string.match(text, '^(%x+) (%d+)(.*)$')
  day = number(day)
  if day and day >= oldest then
    return math.min(day, today), of_store, days
  end
end

local fields = redis.pcall('HGETALL', group)
local own = redis.pcall('HGET', members, agent)
local failure = fields.err and fields or (type(own) == 'table' and own.err and own)
if failure then
  -- What is wrong with the group is no matter of others; what we may not do is.
  return string.find(failure.err, 'WRONGTYPE', 1, true) and { 0, 0, 0 } or failure
end

local count, first, full, gone = 0, nil, nil, {}
for at = 1, #fields, 2 do
  local name, value = fields[at], number(fields[at + 1])
  local day = number(string.match(name, '^d(%d+)$'))
  if day and value and day >= oldest then
    count = count + value
  elseif name == 'first' and value then
    first = value
  elseif name == 'full' and value then
    full = value
  else
    gone[#gone + 1] = name
  end
end
forget(group, gone)
if count == 0 or not first then
  first = now
end

-- What is known of this agent: totals by day.
local known, is_member = {}, false
if own then
  local day, of_store, days = seen(own)
  is_member = day ~= nil
  if is_member and of_store == store then
    for of_day, total in string.gmatch(days, ' (%d+):(%d+)') do
      known[of_day] = number(total)
    end
  end
end

-- Agents within the window. That there are as many as are kept holds for as long as none of them is forgotten.
local agents = most
if not full or full < today then
  local all, old, earliest = redis.call('HGETALL', members), {}, today
  agents = 0
  for at = 1, #all, 2 do
    local day = seen(all[at + 1])
    if day then
      agents = agents + 1
      earliest = math.min(earliest, day)
    else
      old[#old + 1] = all[at]
    end
  end
  forget(members, old)
  if agents >= most then
    redis.call('HSET', group, 'full', earliest + window - 1)
  end
end

for at = 5, #ARGV, 3 do
  local day, total, confirmed = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local base = math.max(known[day] or 0, confirmed)
  if total > base and tonumber(day) >= oldest then
    count = count + total - base
    redis.call('HINCRBY', group, 'd' .. math.min(tonumber(day), today), string.format('%.0f', total - base))
  end
  known[day] = math.max(known[day] or 0, total)
end

if is_member or agents < most then
  local days = {}
  for day in pairs(known) do
    days[#days + 1] = day
  end
  table.sort(days, function(one, other) return tonumber(one) > tonumber(other) end)
  local text = store .. ' ' .. today
  for at = 1, math.min(DAYS_KEPT, #days) do
    text = text .. ' ' .. days[at] .. ':' .. string.format('%.0f', known[days[at]])
  end
  redis.call('HSET', members, agent, text)
end
if not is_member then
  agents = agents + 1
end
redis.call('HSET', group, 'first', first)
redis.call('EXPIRE', group, (window + 1) * 86400)
redis.call('EXPIRE', members, (window + 1) * 86400)
return { count, agents, first }
