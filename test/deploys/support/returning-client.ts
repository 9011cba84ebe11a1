import { setTimeout as wait } from 'node:timers/promises'
import { closeFrame, frame, handshake, type RawClient, rawClient } from '../../support/raw.ts'

/** The end of a connection of a raw client. */
export interface RawEnd {
  readonly code: number
  readonly reason: string
}

/** Opens a WebSocket over raw TCP; rejects when it is not accepted. */
export async function openRaw(port: number, path: string): Promise<RawClient> {
  const client = await rawClient(port)
  client.write(handshake(path))
  const { status, body } = await client.answer()
  if (status !== 101) throw new Error(`${status} ${body}`)
  return client
}

/** Reads until the server closes, and answers pings and the close frame. */
export async function closedBy(client: RawClient): Promise<RawEnd> {
  for (;;) {
    const { opcode, payload } = await client.frame()
    if (opcode === 9) client.write(frame(10, payload))
    if (opcode !== 8) continue
    client.write(closeFrame(payload.readUInt16BE(0)))
    return { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) }
  }
}

/** Connects repeatedly until `stop()`, and counts each outcome. */
export function knockAgainAndAgain(
  port: number,
  path: string,
): { stop: () => Promise<Record<string, number>> } {
  const seen: Record<string, number> = {}
  let stopped = false
  const knock = async (): Promise<string> => {
    try {
      const client = await rawClient(port)
      client.write(handshake(path))
      const { status, headers } = await client.answer()
      client.reset()
      return headers.has('retry-after') ? `${status}, come back` : String(status)
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? (error as Error).message
    }
  }
  const running = (async () => {
    while (!stopped) {
      const what = await knock()
      await wait(5) // leaves the cores to starting workers
      seen[what] = (seen[what] ?? 0) + 1
    }
    return seen
  })()
  return {
    stop: () => {
      stopped = true
      return running
    },
  }
}
