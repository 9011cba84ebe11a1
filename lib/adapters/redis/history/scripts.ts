// The Lua scripts of the history: each step on a log is one script, which Redis runs as a whole.
import { createHash } from 'node:crypto'

/** A script, and the hash by which Redis knows it. */
export interface Script {
  readonly sha: string
  readonly text: string
}

/** Returns a script with its hash. */
export function script(text: string): Script {
  return { sha: createHash('sha1').update(text).digest('hex'), text }
}

/**
 * Reads the meta of a log. A log has two keys: its meta, one packed string, and a list of its
 * entries. The meta alone says what is recorded; a list that does not match it is not used.
 *
 * | | |
 * |---|---|
 * | e, t, k | epoch, top offset, key of the top |
 * | n | the number of entries in the list |
 * | f | the offset before the first entry in the list |
 * | c, h | bytes of payload of this epoch: of all entries, and of those before the list |
 * | a | the first entry in the list is not older than this |
 * | s | the time of the last entry |
 * | z | the end of the last entry that was removed because of the size |
 * | x | when the list was last given its expiry |
 * | w | 1 if nothing was recorded before this epoch, as far as Redis knows |
 * | o | for each origin, its 8 characters, and the number and the time of its last entry; the latest first |
 *
 * An entry in the list: `offset count c time key previous\n` and the payload.
 */
const META = `
local call, pack, unpack = redis.call, struct.pack, struct.unpack
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function meta(key)
  local m = call('GET', key)
  if not m or string.byte(m) ~= 2 then return end
  local _, t, n, f, c, h, a, s, z, x, w, e, k, at = unpack('>Bddddddddddss', m)
  return e, t, k, n, f, c, h, a, s, z, x, w, string.sub(m, at)
end
`

/** The meta of the log of a script for one log. */
const KNOWN = `local e, t, k, n, f, c, h, a, s, z, x, w, o = meta(KEYS[1])
`

/** The time in an epoch: 9 digits of base 36. */
const TIMES = `
local function digits(number)
  local text = ''
  for _ = 1, 9 do
    local digit = number % 36
    text = string.char(digit < 10 and 48 + digit or 87 + digit) .. text
    number = math.floor(number / 36)
  end
  return text
end
local function birth(epoch) return tonumber(string.sub(epoch, 1, 9), 36) or 0 end
`

/** The entry that holds an offset above f, in a list that matches the meta: its index, last offset and key. */
const FIND = `
local function find(offset)
  local low, high = 0, n - 1
  if t - f == n then low = offset - f - 1; high = low end
  while low < high do
    local middle = math.floor((low + high) / 2)
    local last = tonumber(string.match(redis.call('LINDEX', KEYS[2], middle), '^%d+'))
    if last < offset then low = middle + 1 else high = middle end
  end
  local last, key = string.match(redis.call('LINDEX', KEYS[2], low), '^(%d+) %d+ %d+ %d+ (%S+)')
  return low, tonumber(last), key
end
local function before() return string.match(redis.call('LINDEX', KEYS[2], 0), '^%d+ %d+ %d+ %d+ %S+ (%S*)\\n') end
`

/**
 * Records entries. Of each, it removes what exceeds the limits then, and publishes the entry. An entry
 * that is recorded already is not recorded again: each origin numbers its entries, and the meta keeps
 * the last number of each. An entry may name the number of an entry that it MUST come after; it is
 * refused while that entry is missing. After an error, the entries before it are recorded.
 *
 * The first write adds to the list, because Redis checks the memory only at the first write of a
 * script. After a removal, it would let all of the script pass.
 *
 * KEYS: meta and list of each entry. ARGV: 1 origin, 2 messages, 3 bytes, 4 ttl, 5 expiry of the meta,
 * 6 all payloads joined; of each entry: channel, key, count, length of the payload, number, after.
 *
 * Answers with a line for each: epoch, offset and key, and the error of PUBLISH if there is one; an
 * empty line if the entry before it is missing.
 */
export const APPEND: Script = script(`${META}${TIMES}
local match, sub, origin, expiry = string.match, string.sub, ARGV[1], ARGV[5]
local messages, bytes, ttl = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local nowText, oldest = string.format('%.0f', now), now - ttl

local function append(log, list, channel, key, count, payload, number, after)
  local e, t, k, n, f, c, h, a, s, z, x, w, o = meta(log)
  local born = not e
  if born then e, t, k, n, f, c, h, a, s, z, x, w, o = digits(now) .. key, 0, '', 0, 0, 0, 0, 0, 0, 0, 0, 1, '' end
  local last, at = 0, string.find(o, origin, 1, true)
  while at and at % 24 ~= 1 do at = string.find(o, origin, at + 1, true) end
  if at then last = unpack('>d', o, at + 8) end
  if number <= last then
    if k == key then return e .. ' ' .. t .. ' ' .. k end
    for i = 1, call('LLEN', list) do
      local offset, found = match(call('LINDEX', list, -i), '^(%d+) %d+ %d+ %d+ (%S+)')
      if found == key then return e .. ' ' .. offset .. ' ' .. key end
    end
    return e .. ' 0 ' -- removed since: it comes before all that is kept
  end
  if after > last then return '' end
  if at then
    o = sub(o, 1, at - 1) .. sub(o, at + 24)
  else
    while #o >= 64 * 24 or (o ~= '' and now - unpack('>d', o, #o - 7) > 3600000) do o = sub(o, 1, -25) end
  end
  t = t + count
  c = c + #payload
  local entry = t .. ' ' .. count .. ' ' .. c .. ' ' .. nowText .. ' ' .. key .. ' ' .. k .. '\\n' .. payload
  local length = call('RPUSH', list, entry)
  if length == n + 1 then
    n = length
  else -- the list is gone or another one: evicted, expired, or from before the meta was evicted
    if length > 1 then call('LTRIM', list, -1, -1) end
    if born then w = 0 elseif n > 0 and s > oldest then z = t - count end
    n = 1
  end
  if n == 1 then f, h, a = t - count, c - #payload, now end
  while n > 0 do
    local large = t - f > messages or c - h > bytes
    if not large then
      if a > oldest then break end
      a = tonumber(match(call('LINDEX', list, 0), '^%d+ %d+ %d+ (%d+)'))
      if a > oldest then break end
    end
    local offset, sum, when = match(call('LPOP', list), '^(%d+) %d+ (%d+) (%d+)')
    n, f, h, a = n - 1, tonumber(offset), tonumber(sum), tonumber(when)
    if large then z = f end
  end
  if n == 1 or (n > 1 and math.abs(now - x) > ttl / 4) then
    call('PEXPIRE', list, math.floor(ttl * 1.5))
    x = now
  end
  local m = pack('>Bddddddddddssc8dd', 2, t, n, f, c, h, a, now, z, x, w, e, key, origin, number, now)
  call('SET', log, m .. o, 'PX', expiry)
  local told = redis.pcall('PUBLISH', channel, e .. ' ' .. entry)
  local place = e .. ' ' .. t .. ' ' .. key
  if type(told) == 'table' and told.err then return place .. ' ' .. told.err end
  return place
end

local lines, i, start = {}, 6, 1
for entry = 1, #KEYS / 2 do
  local stop = start + ARGV[i + 4]
  lines[entry] = append(KEYS[2 * entry - 1], KEYS[2 * entry], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]),
    sub(ARGV[6], start, stop - 1), tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]))
  i, start = i + 6, stop
end
return table.concat(lines, '\\n')`)

/**
 * Reads the entries after a place, and renews the expiry of the meta.
 *
 * KEYS: meta, list. ARGV: 1 epoch (`*all` for all entries, `*top` for none; no epoch has a star),
 * 2 offset, 3 key, 4 ttl, 5 expiry of the meta.
 *
 * Answers with a word, epoch, offset and key of the top, the time, and the entries. The word is
 * `none` if the log does not exist, `ok`, or the reason why entries are missing.
 */
export const READ: Script = script(`${META}${KNOWN}${TIMES}${FIND}
local since, offset, key = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not e then return {'none', digits(now), 0, '', now, {}} end
if redis.call('PTTL', KEYS[1]) < ARGV[5] / 2 then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
local function answer(word, entries) return {word, e, t, k, now, entries or {}} end
if since == '*top' then return answer('ok') end
local oldest = now - ARGV[4]
local matches = redis.call('LLEN', KEYS[2]) == n
local kept = matches and n > 0 and s > oldest
if since == '*all' then return answer('ok', kept and redis.call('LRANGE', KEYS[2], 0, -1)) end
if since ~= e and not (#since == 9 and offset == 0 and key == '' and w == 1 and birth(since) <= birth(e)) then
  return answer('epoch')
end
if offset > t then return answer('ahead') end
if offset == t then return answer(key == k and 'ok' or 'epoch') end
if not kept or offset < f then
  return answer((offset < z or (not matches and s > oldest)) and 'trimmed' or 'expired')
end
local from = 0
if offset > f then
  local index, last, found = find(offset)
  if found ~= key then return answer('epoch') end
  from = last > offset and index or index + 1
elseif before() ~= key then
  return answer('epoch')
end
local entries = redis.call('LRANGE', KEYS[2], from, -1)
if tonumber(string.match(entries[1], '^%d+ %d+ %d+ (%d+)')) <= oldest then return answer('expired') end
return answer('ok', entries)`)

/**
 * Begins a new epoch, unless the log holds an entry, has removed it, or is in a later epoch. The
 * numbers of the origins stay: an entry with an unknown outcome is not recorded twice.
 *
 * KEYS: meta, list. ARGV: 1 epoch, 2 offset, 3 key, 4 random characters, 5 expiry of the meta.
 */
export const RENEW: Script = script(`${META}${KNOWN}${TIMES}${FIND}
local seen, offset, key = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if #seen == 9 then return 0 end
if e == seen and offset <= t then
  if offset == t then
    if key == k then return 0 end
  else
    if offset < f or redis.call('LLEN', KEYS[2]) ~= n then return 0 end
    if offset == f then
      if before() == key then return 0 end
    else
      local _, _, found = find(offset)
      if found == key then return 0 end
    end
  end
elseif e and e ~= seen then
  if birth(e) > birth(seen) then return 0 end
  -- born in the same millisecond: by bytes, as everywhere else (the locale of Redis may differ)
  for i = 10, birth(e) == birth(seen) and #e or 0 do
    local one, other = string.byte(e, i), string.byte(seen, i) or 0
    if one > other then return 0 elseif one < other then break end
  end
end
local time = math.max(now, birth(seen) + 1, e and birth(e) + 1 or 0)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[1], pack('>Bddddddddddss', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, digits(time) .. ARGV[4], '') .. (o or ''), 'PX', ARGV[5])
return 1`)

/**
 * Returns since when the data are known to be complete. The mark is in Redis itself, so that it is
 * lost with the data. It holds the state of the server: its process, so that a restart or a failover
 * to a server with older data is noticed, and its count of evicted keys. The first write passes when
 * the memory is full.
 *
 * KEYS: mark. ARGV: 1 the state of the server, 2 expiry of the mark.
 */
export const MARK: Script = script(`
local state, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%S*) (%d+)$')
if state == ARGV[1] then
  if redis.call('PTTL', KEYS[1]) < ARGV[2] / 2 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return tonumber(since)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. now, 'PX', ARGV[2])
return now`)

/**
 * Uses every command of the other scripts, so that a missing right is found before anything is
 * recorded: a refusal in the middle of a script keeps what the script has written before. The first
 * write passes when the memory is full.
 *
 * KEYS: two that are used for nothing else. ARGV: 1 channel.
 */
export const PROBE: Script = script(`
local refused
local function try(...)
  local answer = not refused and redis.pcall(...)
  if type(answer) == 'table' and answer.err then refused = answer.err .. ' (' .. select(1, ...) .. ')' end
end
try('DEL', KEYS[1], KEYS[2])
try('TIME')
try('SET', KEYS[1], '', 'PX', 1000)
try('GET', KEYS[1])
try('PTTL', KEYS[1])
try('RPUSH', KEYS[2], '1', '2')
try('PEXPIRE', KEYS[2], 1000)
try('LTRIM', KEYS[2], -1, -1)
try('LLEN', KEYS[2])
try('LINDEX', KEYS[2], 0)
try('LRANGE', KEYS[2], 0, -1)
try('LPOP', KEYS[2])
try('PUBLISH', ARGV[1], '')
try('DEL', KEYS[1], KEYS[2])
return refused and redis.error_reply(refused) or 1`)

export const SCRIPTS: readonly Script[] = [APPEND, READ, RENEW, MARK, PROBE]
