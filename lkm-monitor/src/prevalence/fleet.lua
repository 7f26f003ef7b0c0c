-- Counts what one agent saw of one group, and says how the group stands in the fleet. One call is one atomic step of the server.
--
-- KEYS[1]  the group
-- ARGV[1]  the agent; ARGV[2] its store, which is another one when it began anew
-- ARGV[3]  days of the window; ARGV[4] agents that are kept of a group: one with more is common
-- ARGV[5…] for each day: its number, this agent's events of it, and how many of these were confirmed to it before
--
-- An agent sends totals and not increments, so that saying something twice changes nothing. For each agent that is kept the last
-- day and its total are known here; for the others their own word counts, of what was confirmed.
--
-- The time is the server's: a host with a wrong clock can make nothing expire.

local key, agent, store = KEYS[1], 'a' .. ARGV[1], ARGV[2]
local window, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call('TIME')[1])
local today = math.floor(now / 86400)
local oldest = today - window + 1

local fields = redis.call('HGETALL', key)
local count, agents, first, mine, gone = 0, 0, now, nil, {}
for at = 1, #fields, 2 do
  local name, value = fields[at], fields[at + 1]
  local kind = string.sub(name, 1, 1)
  if kind == 'd' then
    if tonumber(string.sub(name, 2)) < oldest then
      gone[#gone + 1] = name
    else
      count = count + tonumber(value)
    end
  elseif kind == 'a' then
    local day, total, of_store, seen = string.match(value, '^(%d+) (%d+) (%x+) (%d+)$')
    if not seen or tonumber(seen) < oldest then
      gone[#gone + 1] = name
    else
      agents = agents + 1
      if name == agent then
        mine = { day = tonumber(day), total = tonumber(total), same = of_store == store }
      end
    end
  elseif name == 'first' then
    first = tonumber(value)
  end
end
if #gone > 0 then
  redis.call('HDEL', key, unpack(gone))
end
if count == 0 then
  first = now
end

local last_day, last_total = 0, 0
for at = 5, #ARGV, 3 do
  local day, total, confirmed = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local base = confirmed
  if mine and mine.same and mine.day == day then
    base = mine.total
  end
  if total > base and day >= oldest then
    count = count + total - base
    redis.call('HINCRBY', key, 'd' .. math.min(day, today), total - base)
  end
  if day >= last_day then
    last_day, last_total = day, total
  end
end

if mine and mine.same and mine.day >= last_day then
  last_total = mine.day == last_day and math.max(mine.total, last_total) or mine.total
  last_day = mine.day
end
if mine or agents < most then
  redis.call('HSET', key, agent, string.format('%d %d %s %d', last_day, last_total, store, today))
end
if not mine then
  agents = agents + 1
end
redis.call('HSET', key, 'first', first, 'last', now)
redis.call('EXPIRE', key, (window + 1) * 86400)
return { count, agents, mine and 1 or 0, first }
