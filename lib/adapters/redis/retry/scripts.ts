// The Lua scripts of requests with `retry`: Redis runs each as a whole.
import { type Script, script } from '../history/scripts.ts'

/**
 * Reads an entry: `R owner hash` while its owner runs it, `D owner hash answer` when it is done, `N
 * owner hash` when its answer was not kept. An owner without a sign of life has ended.
 */
const READ = `
local function read()
  local entry = redis.call('GET', KEYS[1])
  if not entry then return nil end
  local state, owner, hash, answer = string.match(entry, '^([RDN]) (%S+) (%S+) ?(.*)$')
  if not state or (state == 'R' and redis.call('EXISTS', ARGV[1] .. owner) == 0) then return {'U'} end
  return {state, hash, answer}
end
`

/**
 * Returns since when nothing was lost, in milliseconds ago. The mark names the process of the
 * server, and how many keys it has evicted: after a restart, a failover or an eviction, the time
 * begins anew. It is lost together with the data.
 */
const MARK = `
local function known(mark)
  local server, stats = redis.pcall('INFO', 'server'), redis.pcall('INFO', 'stats')
  if type(server) == 'table' or type(stats) == 'table' then return 0 end
  local process = string.match(server, 'run_id:(%x+)') or ''
  process = process .. ':' .. (string.match(stats, 'evicted_keys:(%d+)') or '')
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local same, since = string.match(redis.call('GET', mark) or '', '^(%S*) (%d+)$')
  if same ~= process then since = now end
  redis.call('SET', mark, process .. ' ' .. since, 'PX', 86400000)
  return now - since
end
`

/**
 * Claims a request.
 *
 * KEYS: entry, mark. ARGV: 1 prefix of the signs of life, 2 owner, 3 hash, 4 whether it was sent
 * before, 5 expiry of the entry, 6 expiry of the sign of life. Answers with `F` for the first, `U`
 * for an unknown outcome, or with the state, the hash and the answer.
 */
export const CLAIM: Script = script(`${READ}${MARK}
local found = read()
if found then return found end
if ARGV[4] == '1' and known(KEYS[2]) < tonumber(ARGV[5]) then return {'U'} end
redis.call('SET', KEYS[1], 'R ' .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[5])
redis.call('SET', ARGV[1] .. ARGV[2], '1', 'PX', ARGV[6])
return {'F'}`)

/** Returns what is known. KEYS: entry. ARGV: 1 prefix of the signs of life. */
export const LOOK: Script = script(`${READ}return read() or {'U'}`)

/**
 * Keeps an answer, unless another instance has the entry.
 *
 * KEYS: entry. ARGV: 1 owner, 2 hash, 3 expiry, 4 the state, 5 the answer.
 */
export const SETTLE: Script = script(`
local entry = redis.call('GET', KEYS[1])
if entry and string.match(entry, '^%a (%S+)') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[4] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[5], 'PX', ARGV[3])
return 1`)

/** Removes a claim that did not lead to a run. KEYS: entry. ARGV: 1 owner. */
export const DROP: Script = script(`
local state, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%a) (%S+)')
if state == 'R' and owner == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`)

/** Renews the mark. KEYS: mark. */
export const RENEW: Script = script(`${MARK}return known(KEYS[1])`)
