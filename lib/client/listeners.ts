// The listeners for messages of the server, and the answers to its requests.
import { encode, encodeError, type Incoming } from './envelope.ts'
import { isErrorStatus, RequestError } from './errors.ts'
import { transmit } from './outgoing.ts'
import type { Session } from './session.ts'

type Listener = (data: never, message: never) => unknown

/** Registers and calls the listeners for pushes and requests of the server. */
export interface Listeners {
  on(type: string, fn: Listener): () => void
  /** Calls the listeners of a type. The promises reject with what the listeners throw. */
  call(type: string, data: unknown, message?: Incoming): Promise<unknown>[]
  /** Calls the listeners of a message. For a request, sends the answer on the session. */
  deliver(message: Incoming, session?: Session): void
}

/** Creates listeners by type. An error of one goes to `report`; the others still run. */
export function createListeners(report: (error: unknown) => void): Listeners {
  const byType = new Map<string, Set<{ fn: Listener }>>()
  const callAll = (type: string, data: unknown, message?: Incoming): Promise<unknown>[] =>
    [...(byType.get(type) ?? [])].map(({ fn }) => call(fn, data, message))

  const answer = (session: Session, type: string, id: number, reply: Promise<unknown>): void => {
    reply
      .then((value) => {
        const text = encode('koaws:reply', value ?? null, id)
        transmit(session, { type, text, sent: false })
      })
      .catch((error) => session.send(encodeKnown(id, error)))
      .catch((error) => {
        session.send(encodeError(id, 'internal', 500, 'Internal error'))
        report(error)
      })
  }
  return {
    on(type, fn) {
      const entry = { fn }
      const entries = byType.get(type) ?? new Set()
      byType.set(type, entries.add(entry))
      return () => {
        entries.delete(entry)
      }
    },
    call: callAll,
    deliver(message, session) {
      const { type, id, data } = message
      const results = callAll(type, data, message)
      if (id && session) answer(session, type, id, results.shift() ?? unknownType(type))
      for (const result of results) result.catch(report)
    },
  }
}

/** Calls a listener synchronously. An error that it throws becomes a rejection. */
async function call(fn: Listener, data: unknown, message?: Incoming): Promise<unknown> {
  return fn(data as never, message as never)
}

/** Answers a request of a type that has no listener. */
async function unknownType(type: string): Promise<never> {
  throw new RequestError(`No listener for ${type}`, { code: 'ERR_KOAWS_UNKNOWN_TYPE', status: 404 })
}

/**
 * Returns the text of an error for the server.
 *
 * @throws the error itself when it has no code and status: the server gets `internal` only
 */
function encodeKnown(id: number, error: unknown): string {
  const { code, message, status, retryable, data } = (error ?? {}) as Partial<RequestError>
  if (typeof code !== 'string' || !isErrorStatus(status)) throw error
  return encodeError(id, code, status, String(message), retryable === true, data)
}
