import { encode, encodeError, encodeUnknown, type Incoming } from './envelope.ts'
import { isErrorStatus, type RequestError } from './errors.ts'
import { transmit } from './outgoing.ts'
import type { Session } from './session.ts'

type Listener = (data: never) => unknown

/** Who hears the pushes and requests of the server. */
export interface Listeners {
  on(type: string, fn: Listener): () => void
  /** Hand a message to its listeners, and the answer to a request to the session. */
  deliver(message: Incoming, session: Session): void
}

/** Listeners by type. One that throws harms no other: see `report`. */
export function createListeners(report: (error: unknown) => void): Listeners {
  const byType = new Map<string, Set<{ fn: Listener }>>()

  const answer = ({ type, id = 0 }: Incoming, reply: Promise<unknown>, session: Session): void => {
    reply
      .then((value) => {
        const text = encode('koaws:reply', value === undefined ? null : value, id)
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
    deliver(message, session) {
      const { type, id, data } = message
      const results = [...(byType.get(type) ?? [])].map(({ fn }) => call(fn, data))
      if (id) {
        const reply = results.shift()
        if (reply) answer(message, reply, session)
        else session.send(encodeUnknown(id, type))
      }
      for (const result of results) result.catch(report)
    },
  }
}

/** Called at once; what it throws is a rejection. */
async function call(fn: Listener, data: unknown): Promise<unknown> {
  return fn(data as never)
}

/** What the server may know of an error: nothing, unless it has a code and a status. */
function encodeKnown(id: number, error: unknown): string {
  const { code, message, status, retryable, data } = (error ?? {}) as Partial<RequestError>
  if (typeof code !== 'string' || !isErrorStatus(status)) throw error
  return encodeError(id, code, status, String(message), retryable === true, data)
}
