// `connect()`: creates the parts of one client and wires them.
import type { Protocol } from '../protocol/definition.ts'
import { createContext } from './context.ts'
import { assertType, byteLength, encode, keep } from './envelope.ts'
import { localError, type RequestError, remoteError } from './errors.ts'
import { createHistory } from './history.ts'
import { createLink } from './link.ts'
import { createListeners } from './listeners.ts'
import { createOfflineQueue } from './offline-queue.ts'
import { type Outgoing, transmit } from './outgoing.ts'
import { createRefresh, type Refresh } from './refresh.ts'
import { createRequests, type RequestOptions } from './requests.ts'
import type { Session } from './session.ts'
import type { ConnectOptions } from './settings.ts'
import { createStore } from './store.ts'
import { createStreamer } from './stream.ts'
import type { Client, PushOptions, PushResult } from './types.ts'

/**
 * Creates a client of a koaws server that speaks `koaws.v1` (docs/protocol.md). It opens no
 * connection before the first `on`, `subscribe`, `push`, `request`, `stream`, `upload` or `open`. From then on it keeps
 * a connection: it reconnects after a close, unless the close code is final.
 *
 * @example
 * ```js
 * import { connect } from 'koaws/client'
 * import { fakeServer } from 'koaws/testing'
 *
 * const server = fakeServer() // in a page: leave out the option WebSocket
 * server.on('say', () => ({ heard: 1 }))
 *
 * const client = connect('wss://app.example/chat', { WebSocket: server.WebSocket })
 * client.on('said', (data) => console.log(data)) // { text: 'welcome' }
 * await server.connected()
 * server.push('said', { text: 'welcome' })
 * console.log(await client.request('say', { text: 'hi' })) // { heard: 1 }
 * client.close()
 * ```
 *
 * @param url `ws:`, `wss:`, `http:` or `https:`; in a page it may be relative
 * @param options all optional; an unknown option throws
 * @throws TypeError for an invalid URL or option
 * @throws Error with the code `ERR_KOAWS_NO_WEBSOCKET` when there is no WebSocket class
 */
export function connect<P = Protocol>(url: string | URL, options: ConnectOptions = {}): Client<P> {
  const context = createContext(url, options)
  const { failed, thrown, guard, token } = context
  const store = createStore(guard)
  const listeners = createListeners(thrown)
  const history = createHistory(context, listeners.deliver)
  const waiting = createOfflineQueue(context.queue)
  const requests = createRequests(context.nextId)
  let refresh: Refresh | undefined

  const link = createLink(context, store, {
    resumption: history.resumption,
    onWelcome(session, welcome, ready) {
      history.remember(welcome['connection'])
      const open = (): void => {
        const send = flush(session)
        requests.each((item) => item.since && send(item))
        waiting.drain(send)
        ready()
      }
      if (welcome['refresh'] === true && typeof token === 'function') {
        refresh = createRefresh(token, (fresh) => authenticate(session, fresh), failed)
        refresh.arm(welcome['expiresAt'])
      }
      const steps = listeners.call(OPENED, sender(onlyOn(session), ended))
      if (steps.length > 0) session.prepare(Promise.all(steps), open)
      else open()
    },
    onMessage(session, message) {
      const { type, id, error, about } = message
      if (!/^koaws:(reply|error|item|credit|cancel)$/.test(type)) {
        if (id) listeners.deliver(message, session)
        else history.take(message)
      } else if (id) {
        requests.pending.get(id)?.answer(message)
      } else if (error) {
        failed(remoteError(error, about))
      }
    },
    onEnd(why) {
      refresh?.stop()
      history.release()
      // The server may have handled them. Those with `retry` are sent again.
      requests.each((item) => item.sent && !item.since && close(why)(item))
    },
    onStop(why) {
      requests.each(close(why))
      waiting.drain(close(why))
    },
  })

  /** Makes a function that fails a message. It returns true: the queue can drop the message. */
  const close =
    (why: string) =>
    (item: Outgoing): true => {
      item.fail(localError(item, 'CLOSED', why))
      return true
    }

  const authenticate = (session: Session, fresh: string): Promise<unknown> =>
    requests.ask('koaws:auth', { token: fresh }, { timeout: context.timeout }, (item) => {
      transmit(session, item)
      // when `transmit` returns false, the connection is closing, and its end rejects the request
      item.sent = true
    })

  /** Returns true when the queue can drop the message: it was sent, or it failed. */
  const flush =
    (session: Session) =>
    (item: Outgoing): boolean => {
      try {
        return transmit(session, item)
      } catch (error) {
        item.fail(error)
        return true
      }
    }

  /** Reports a failed push later, so that `onError` does not run inside `client.close()`. */
  const failSoon = async (error: unknown): Promise<void> => {
    await null
    failed(error)
  }

  /** Sends on the open connection, or queues the message. */
  const dispatch: Dispatch = (item, mayWait) => {
    link.start()
    if (link.open && transmit(link.open, item)) return 'sent'
    const mayQueue = mayWait && store.state.status !== 'stopped'
    return mayQueue && waiting.add(item) ? 'queued' : 'dropped'
  }

  const undispatched = (item: Outgoing): RequestError =>
    store.state.status === 'stopped'
      ? localError(item, 'CLOSED', 'the client stopped')
      : localError(item, 'QUEUE_FULL', 'the queue is full')

  /**
   * Sends a request of the application, or queues it.
   *
   * @throws RequestError when it can do neither
   */
  const launch = (item: Outgoing): void => {
    if (dispatch(item, true) === 'dropped') throw undispatched(item)
  }

  /** Sends on a connection that `onOpen` functions still prepare. */
  const onlyOn =
    (session: Session): Dispatch =>
    (item) =>
      transmit(session, item) ? 'sent' : 'dropped'

  const ended = (item: Outgoing): RequestError => localError(item, 'CLOSED', 'the connection ended')

  /** Makes `push` and `request`; `why` makes the error of a dropped request. */
  const sender = (send: Dispatch, why: (item: Outgoing) => RequestError) => ({
    push(type: string, data?: unknown, { queue = true }: PushOptions = {}) {
      assertType(type)
      return send({ type, text: encode(type, data), sent: false, fail: failSoon }, queue)
    },
    async request(type: string, data?: unknown, options: RequestOptions = {}) {
      assertType(type)
      const { retry, timeout = retry ? WINDOW : context.timeout } = options
      const transmitOrThrow = (item: Outgoing): void => {
        if (send(item, true) === 'dropped') throw why(item)
      }
      return requests.ask(type, data, { ...options, timeout }, transmitOrThrow, waiting.delete)
    },
  })

  const streamer = createStreamer(
    {
      nextId: context.nextId,
      ask: requests.ask,
      pending: requests.pending,
      launch,
      forget: waiting.delete,
      post: (item) => link.open && transmit(link.open, item),
      localError,
      keep,
      remoteError,
    },
    context.streams,
  )

  /** Connects, if the client has not started, and returns the unsubscribe function. */
  const started = (off: () => void): (() => void) => {
    link.start()
    return off
  }

  return {
    get state() {
      return store.state
    },
    get positions() {
      return history.positions()
    },
    subscribe(fn: () => void) {
      return started(store.subscribe(fn))
    },
    on(type: string, fn: (data: never, message: never) => unknown) {
      if (!/^koaws:(resync|presence|recovered)$/.test(type)) assertType(type)
      return started(listeners.on(type, fn))
    },
    onOpen(fn: (connection: never) => unknown) {
      return started(listeners.on(OPENED, fn))
    },
    ...sender(dispatch, undispatched),
    ...streamer,
    open: link.connect,
    close(code = 1000, reason?: string) {
      assertClosable(code, reason)
      link.stop(code, reason)
    },
  } as Client<P>
}

/** Sends a message, queues it if `mayWait` is true, or drops it. */
type Dispatch = (item: Outgoing, mayWait: boolean) => PushResult

/** How long a request with `retry` waits for its answer, in milliseconds. */
const WINDOW = 120_000

/** The key of `onOpen` functions among the listeners: no message has an empty type. */
const OPENED = ''

/**
 * Asserts that a browser accepts this code and reason in `WebSocket.close()` (WHATWG WebSockets).
 *
 * @throws RangeError for another code, or a reason above 123 bytes
 */
function assertClosable(code: number, reason = ''): void {
  if ((code === 1000 || (code >= 3000 && code <= 4999)) && byteLength(reason) <= 123) return
  throw new RangeError('The code must be 1000 or 3000 to 4999, the reason at most 123 bytes.')
}
