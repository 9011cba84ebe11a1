// What the page shows of one connection.

import type { Connection } from '../index.ts'
import type { ResolvedOptions } from './options.ts'
import { cut } from './reading.ts'

/** A row of the list. */
export interface Row {
  readonly id: string
  readonly user: string | null
  readonly ip: string
  readonly path: string
  readonly openedAt: number
  readonly rooms: number
  readonly subprotocol: string
  readonly bytesIn: number
  readonly bytesOut: number
  /** Bytes that wait for the client. */
  readonly queue: number
  /** In milliseconds, or null before the first pong. */
  readonly rtt: number | null
}

/** Everything of one connection, but its messages. */
export interface Details extends Omit<Row, 'rooms'> {
  readonly rooms: readonly string[]
  readonly roomCount: number
  readonly expiresAt: number | null
  readonly params: readonly (readonly [string, string])[]
  /** What `redact` leaves of the state, in JSON; null without it. */
  readonly state: string | null
}

const MOST_ROOMS = 100
const MOST_PARAMS = 20
const LONGEST_STATE = 4_000

/** Returns the row of a connection. The path has no query, which may hold a token. */
export function rowOf(connection: Connection): Row {
  const { id, userId, ip, path, openedAt, rooms, protocol, rtt } = connection
  return {
    id,
    user: userId === undefined ? null : cut(userId),
    ip: cut(ip),
    path: cut(path),
    openedAt,
    rooms: rooms.size,
    subprotocol: cut(protocol),
    bytesIn: connection.bytesRead,
    bytesOut: connection.bytesWritten,
    queue: connection.bufferedAmount,
    rtt: rtt === undefined ? null : Math.round(rtt * 10) / 10,
  }
}

/** Returns everything of a connection. */
export function detailsOf(
  connection: Connection,
  { redact }: Pick<ResolvedOptions, 'redact'>,
): Details {
  const { rooms, expiresAt, params, state } = connection
  return {
    ...rowOf(connection),
    rooms: [...rooms].slice(0, MOST_ROOMS).map((room) => cut(room, 255)),
    roomCount: rooms.size,
    expiresAt,
    params: Object.entries(params)
      .slice(0, MOST_PARAMS)
      .map(([name, value]) => [cut(name), cut(String(value))]),
    state: redact ? stateOf(() => redact(state)) : null,
  }
}

function stateOf(read: () => unknown): string {
  try {
    return cut(JSON.stringify(read(), null, 2) ?? 'undefined', LONGEST_STATE)
  } catch (error) {
    return `redact failed: ${cut(String(error))}`
  }
}
