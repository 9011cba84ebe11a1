import type { DefinitionOf, Protocol } from '../protocol/definition.ts'
import { createContext } from './context.ts'
import { assertType, encode, utf8 } from './envelope.ts'
import { localError, remoteError } from './errors.ts'
import { createLink } from './link.ts'
import { createListeners } from './listeners.ts'
import { createOfflineQueue } from './offline-queue.ts'
import { type Outgoing, transmit } from './outgoing.ts'
import { createRefresh, type Refresh } from './refresh.ts'
import { createRequests, type RequestOptions } from './requests.ts'
import type { Session } from './session.ts'
import type { ConnectOptions } from './settings.ts'
import { createStore } from './store.ts'
import type { Client, PushOptions, PushResult } from './types.ts'

/**
 * A client of a koaws server that speaks `koaws.v1` (docs/protocol.md). Nothing is opened before the
 * first `on`, `subscribe`, `push`, `request` or `open`. From then on it keeps a connection: it comes
 * back after a close, unless the close code says that it is not wanted.
 *
 * ```ts
 * const client = connect<typeof chatProtocol>('/chat/lobby', { token: () => getToken() })
 * client.on('said', ({ text }) => show(text))
 * await client.request('say', { text: 'hi' })
 * ```
 *
 * @param url relative to the page, where there is one; `http:` and `https:` will do too
 * @throws TypeError for a URL or an option that will not do
 * @throws Error with the code `ERR_KOAWS_NO_WEBSOCKET` where there is no WebSocket class
 */
export function connect<P = Protocol>(
  url: string | URL,
  options: ConnectOptions = {},
): Client<DefinitionOf<P>> {
  const context = createContext(url, options)
  const { failed, thrown, guard, token } = context
  const store = createStore(guard)
  const listeners = createListeners(thrown)
  const waiting = createOfflineQueue(context.queue)
  const requests = createRequests(context.nextId)
  let refresh: Refresh | undefined

  const link = createLink(context, store, {
    onWelcome(session, welcome) {
      waiting.drain((item) => flush(session, item))
      if (welcome['refresh'] !== true || typeof token !== 'function') return
      refresh = createRefresh(token, (fresh) => authenticate(session, fresh), failed)
      refresh.arm(welcome['expiresAt'])
    },
    onMessage(session, message) {
      const { type, id, error, about } = message
      if (!/^koaws:(reply|error)$/.test(type)) {
        listeners.deliver(message, session)
      } else if (id) {
        requests.answer(message)
      } else if (error) {
        failed(remoteError(error, about))
      }
    },
    onEnd(why) {
      refresh?.stop()
      requests.fail(why)
    },
    onStop(why) {
      waiting.drain((item) => {
        item.fail(localError(item, 'CLOSED', why))
        return true
      })
    },
  })

  const authenticate = (session: Session, fresh: string): Promise<unknown> =>
    requests.ask('koaws:auth', { token: fresh }, context, (item) => {
      transmit(session, item)
      item.sent = true // or the connection is closing, whose end fails it
    })

  /** Whether the queue is done with it. */
  const flush = (session: Session, item: Outgoing): boolean => {
    try {
      return transmit(session, item)
    } catch (error) {
      item.fail(error)
      return true
    }
  }

  /** Of a push: not in the middle of what makes it fail. */
  const failSoon = (error: unknown): void => queueMicrotask(() => failed(error))

  const dispatch = (item: Outgoing, mayWait: boolean): PushResult => {
    link.start()
    if (link.open && transmit(link.open, item)) return 'sent'
    const { status } = store.state
    return status !== 'stopped' && mayWait && waiting.add(item) ? 'queued' : 'dropped'
  }

  const dispatchRequest = (item: Outgoing): void => {
    if (dispatch(item, true) !== 'dropped') return
    throw store.state.status === 'stopped'
      ? localError(item, 'CLOSED', 'the client stopped')
      : localError(item, 'QUEUE_FULL', 'too much waits for a connection')
  }

  return {
    get state() {
      return store.state
    },
    subscribe(fn: () => void) {
      const off = store.subscribe(fn)
      link.start()
      return off
    },
    on(type: string, fn: (data: never) => unknown) {
      if (!/^koaws:(resync|presence)$/.test(type)) assertType(type)
      const off = listeners.on(type, fn)
      link.start()
      return off
    },
    push(type: string, data?: unknown, { queue = true }: PushOptions = {}) {
      assertType(type)
      return dispatch({ type, text: encode(type, data), sent: false, fail: failSoon }, queue)
    },
    async request(type: string, data?: unknown, options: RequestOptions = {}) {
      assertType(type)
      const { timeout = context.timeout, signal } = options
      return requests.ask(type, data, { timeout, signal }, dispatchRequest, waiting.delete)
    },
    open: link.connect,
    close(code = 1000, reason?: string) {
      assertClosable(code, reason)
      link.stop(code, reason)
    },
  } as Client<DefinitionOf<P>>
}

/** What a browser lets a page close with. */
function assertClosable(code: number, reason = ''): void {
  if ((code === 1000 || (code >= 3000 && code <= 4999)) && utf8(reason).length <= 123) return
  throw new RangeError('A client closes with 1000, or 3000 to 4999, and a reason of 123 bytes.')
}
