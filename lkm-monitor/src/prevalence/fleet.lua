-- Counts what one agent saw of one group, and says how the group stands in the fleet. One call is one atomic step of the server.
--
-- KEYS[1]  the group
-- ARGV[1]  the agent; ARGV[2] its store, which is another one when it began anew
-- ARGV[3]  days of the window; ARGV[4] agents that are kept of a group: one with more is common
-- ARGV[5…] for each day, the earliest first: its number, this agent's events of it, and how many of these were confirmed to it before
--
-- Returns events and agents within the window, and when the first event was (seconds since 1970); 0 events where the key holds
-- something else than a group.
--
-- An agent sends totals and not increments, so that saying something twice changes nothing: of each agent that is kept the totals
-- of its last days are known here; for other agents and days its own word counts, of what was confirmed.
--
-- The time is the server's: a host with a wrong clock can make nothing expire. What is no number is thrown away.

local DAYS_KEPT = 4
-- Numbers beyond it are not exact.
local LARGEST = 2 ^ 53

local key, agent, store = KEYS[1], 'a' .. ARGV[1], ARGV[2]
local window, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call('TIME')[1])
local today = math.floor(now / 86400)
local oldest = today - window + 1

local fields = redis.pcall('HGETALL', key)
if fields.err then
  return { 0, 0, 0 }
end

local function number(text)
  local value = tonumber(text)
  return value and value >= 0 and value < LARGEST and value or nil
end

local count, agents, first, mine, gone = 0, 0, now, nil, {}
for at = 1, #fields, 2 do
  local name, value = fields[at], fields[at + 1]
  local kind = string.sub(name, 1, 1)
  local kept = false
  if kind == 'd' then
    local day, events = number(string.sub(name, 2)), number(value)
    if day and events and day >= oldest then
      count = count + events
      kept = true
    end
  elseif kind == 'a' then
    local of_store, seen, days = string.match(value, '^(%x+) (%d+)(.*)$')
    if seen and number(seen) and number(seen) >= oldest then
      agents = agents + 1
      kept = true
      if name == agent then
        mine = {}
        if of_store == store then
          for day, total in string.gmatch(days, ' (%d+):(%d+)') do
            mine[day] = number(total)
          end
        end
      end
    end
  elseif name == 'first' then
    first = number(value) or now
    kept = true
  end
  if not kept then
    gone[#gone + 1] = name
  end
end
for at = 1, #gone, 100 do
  redis.call('HDEL', key, unpack(gone, at, math.min(at + 99, #gone)))
end
if count == 0 then
  first = now
end

local known = mine or {}
for at = 5, #ARGV, 3 do
  local day, total, confirmed = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local base = math.max(known[day] or 0, confirmed)
  if total > base and tonumber(day) >= oldest then
    count = count + total - base
    redis.call('HINCRBY', key, 'd' .. math.min(tonumber(day), today), string.format('%.0f', total - base))
  end
  known[day] = math.max(known[day] or 0, total)
end

if mine or agents < most then
  local days = {}
  for day in pairs(known) do
    days[#days + 1] = day
  end
  table.sort(days, function(one, other) return tonumber(one) > tonumber(other) end)
  local text = store .. ' ' .. today
  for at = 1, math.min(DAYS_KEPT, #days) do
    text = text .. ' ' .. days[at] .. ':' .. string.format('%.0f', known[days[at]])
  end
  redis.call('HSET', key, agent, text)
end
if not mine then
  agents = agents + 1
end
redis.call('HSET', key, 'first', first)
redis.call('EXPIRE', key, (window + 1) * 86400)
return { count, agents, first }
