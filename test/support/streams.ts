import { coreOf } from '../../lib/connection/connection.ts'
import type { Hub } from '../../lib/index.ts'
import type { Streams } from '../../lib/streams/streams.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { hear, type Wire } from './talk.ts'

/** More credit than any test needs. */
export const PLENTY = 65_536

/** A key that a client might make. */
export const KEY = 'k'.repeat(24)

/** The fields of a request with a stream. */
interface Asked {
  data?: unknown
  credit?: number
  upload?: boolean
  key?: string
  again?: boolean
  since?: number
}

/** Sends a request with a stream, by default one with items of the server. */
export function begin(
  socket: TestSocket,
  type: string,
  id: number,
  fields: Asked = { credit: PLENTY },
): void {
  socket.json({ type, id, ...fields })
}

/** Returns an item of the wire. */
export function item(id: number, data: unknown): Wire {
  return { type: 'koaws:item', id, data }
}

/** Returns the answer to a stream, and the data of the items before it. */
export async function hearAll(
  socket: TestSocket,
  id: number,
): Promise<{ items: unknown[]; answer: Wire; others: Wire[] }> {
  const items: unknown[] = []
  const others: Wire[] = []
  for (;;) {
    const message = await hear(socket)
    if (message.id !== id) others.push(message)
    else if (message.type === 'koaws:item') items.push(message.data)
    else if (message.type === 'koaws:reply' || message.type === 'koaws:error') {
      return { items, answer: message, others }
    } else others.push(message)
  }
}

/** Returns the next messages. */
export async function hearMany(socket: TestSocket, many: number): Promise<Wire[]> {
  const heard: Wire[] = []
  while (heard.length < many) heard.push(await hear(socket))
  return heard
}

/** Resolves when the server has handled all that was sent before; returns what it sent meanwhile. */
export async function ping(socket: TestSocket): Promise<Wire[]> {
  const id = 900_000 + ++pings
  socket.json({ type: 'koaws:ping', id })
  const heard: Wire[] = []
  for (;;) {
    const message = await hear(socket)
    if (message.id === id) return heard
    heard.push(message)
  }
}

let pings = 0

/** Returns the streams of a hub with an open connection. */
export function streamsOf(hub: Hub): Streams {
  const [connection] = hub.localConnections.values()
  if (!connection) throw new Error('no connection is open')
  return coreOf(connection).owner?.streams as Streams
}
