// The values of attributes that are known: any other value of a client counts as `other`.

import { CloseCode, errorTable } from '../index.ts'

/** What counts for a close code outside of the known ones. */
const OTHER = 'other'

/** Codes of RFC 6455 and its registry, and the codes of koaws. */
const CLOSE_CODES: ReadonlySet<number> = new Set([
  ...[1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015],
  ...Object.values(CloseCode),
  // 4000 + HTTP status, for the statuses of rejections.
  ...[400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 425, 426, 429, 500, 502, 503, 504].map(
    (status) => 4000 + status,
  ),
])

/** The statuses that upgrades get; another one counts as its class: `4xx`. */
const STATUSES: ReadonlySet<number> = new Set([
  ...[101, 200, 204, 301, 302, 303, 304, 307, 308],
  ...[400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 422, 425, 426, 429],
  ...[500, 501, 502, 503, 504],
])

const METHODS: ReadonlySet<string> = new Set([
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY'],
])

const RECOVERY_REASONS: ReadonlySet<string> = new Set([
  ...['expired', 'trimmed', 'epoch', 'ahead', 'limit', 'slow', 'left'],
])

export function closeCode(code: number): string {
  return CLOSE_CODES.has(code) ? String(code) : OTHER
}

/** Returns an empty string for 0: no answer was sent. */
export function statusCode(status: number): string {
  if (status === 0) return ''
  return STATUSES.has(status) ? String(status) : `${Math.floor(status / 100)}xx`
}

/** Returns the error code of koaws of a rejection; `application` without one. */
export function upgradeError(code: string | undefined): string {
  if (code === undefined) return 'application'
  return Object.hasOwn(errorTable, code) ? code : OTHER
}

export function method(name: string): string {
  return METHODS.has(name) ? name : '_OTHER'
}

export function recoveryReason(reason: string | null): string {
  if (reason === null) return ''
  return RECOVERY_REASONS.has(reason) ? reason : OTHER
}

export function subprotocol(name: string): string {
  if (name === 'koaws.v1') return name
  return name === '' ? 'none' : OTHER
}

/** The instrument of each counter in `status().drops`; a counter without one counts in `koaws.drops`. */
export const DROPS: ReadonlyMap<string, string> = new Map([
  ...rowsOf('koaws.upgrades.limited', [
    ...['badHandshake', 'deadline', 'draining', 'filter', 'maxConnections', 'maxPerAddress'],
    ...['maxPerSession', 'maxPerUser', 'origin', 'serverMaxConnections'],
  ]),
  ...rowsOf('koaws.connections.ended', [
    ...['badFrame', 'floodClosed', 'heartbeat', 'maxFragments', 'maxPayload', 'neverAuthenticated'],
    ...['offender', 'slowConsumer'],
  ]),
  ...rowsOf('koaws.connections.throttled', [
    ...['flood', 'maxRooms', 'recoveries', 'retryKeys', 'streamLimit'],
  ]),
  ...rowsOf('koaws.messages.refused', [
    ...['badToken', 'binary', 'invalid', 'malformed', 'prototypeKey', 'tooDeep', 'tooLarge'],
    ...['streamCredit', 'unauthenticated', 'unknownType'],
  ]),
  ...rowsOf('koaws.messages.dropped', ['dropped', 'unheard', 'unrecorded', 'volatile']),
  ...rowsOf('koaws.backplane.faults', ['backplane', 'foreign', 'lost']),
])

function rowsOf(instrument: string, counters: readonly string[]): [string, string][] {
  return counters.map((counter) => [counter, instrument])
}
