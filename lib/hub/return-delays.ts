// Computes when each client should reconnect after a shutdown.

import { type Connection, coreOf } from '../connection/connection.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import { byeText } from '../protocol/envelope.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'

/** The earliest reconnect, in milliseconds: the next instance must be up. */
const FLOOR = 500
/** The shortest and longest time over which the reconnects are spread, in milliseconds. */
const SHORTEST = 1_000
const LONGEST = 60_000
/**
 * Few clients: milliseconds per client, up to a spread of `FEW`. Then about 11 % reconnect per
 * second, which leaves room for delays.
 */
const EACH = 100
const FEW = 9_000
/** Many clients: reconnects per millisecond. */
const PER_MILLISECOND = 1

/**
 * Returns one delay per client, in milliseconds from now. The delays are spread evenly and in
 * random order, so that the clients do not overload the next instance.
 */
export function returnDelays(count: number): number[] {
  const few = Math.min(FEW, Math.max(SHORTEST, count * EACH))
  const span = Math.min(LONGEST, Math.max(few, count / PER_MILLISECOND))
  const delays = Array.from({ length: count }, (_, i) =>
    Math.round(FLOOR + ((i + Math.random()) / count) * span),
  )
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    const delay = delays[i] as number
    delays[i] = delays[j] as number
    delays[j] = delay
  }
  return delays
}

/**
 * Closes connections. Each client gets a delay of its own before it reconnects: in the reason of a
 * 1012, and in the message `bye` of `koaws.v1`.
 */
export function closeWithDelays(
  connections: Iterable<Connection>,
  count: number,
  code: number,
): void {
  const delays = returnDelays(count)
  for (const connection of connections) {
    const after = delays.pop() as number
    coreOf(connection).conversation?.takeLeave()
    const reason = code === CloseCode.restart ? `restart, retry in ${after} ms` : ''
    if (connection.protocol === KOAWS_V1) {
      connection.send(byeText(code, reason, code === CloseCode.normal ? undefined : after))
    }
    connection.close(code, reason)
  }
}
