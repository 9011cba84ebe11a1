// The life of one WebSocket: token, handshake, welcome, messages, close.
import { KOAWS_RESUME, KOAWS_V1 } from '../protocol/subprotocol.ts'
import type { Context } from './context.ts'
import { byteLength, decode, encode, type Incoming, positive, textOf } from './envelope.ts'
import { createLiveness } from './liveness.ts'
import { createTimer } from './timer.ts'
import { bearerEntry, type Token, takeToken } from './token.ts'
import { clampDelay } from './verdict.ts'
import { OPEN, type WebSocketLike } from './web-socket.ts'

/** The time limit of each step up to an open connection, in milliseconds. */
const PATIENCE = 15_000

/** How long to wait for the close event after an error, in milliseconds. */
const AFTER_ERROR = 50

/** The close code of a connection that ended without a close frame. */
const ABNORMAL = 1006

/** The beginning of an item of a stream, as servers should send it: docs/protocol.md, section 2. */
const LOST_ITEM = /^{"type":"koaws:item","id":(\d+),/

/** The life of one WebSocket: token, handshake, welcome, messages, close. */
export interface Session {
  /** When the welcome arrived, in epoch milliseconds, or 0. */
  openedAt: number
  /** When the server asked the client to reconnect, in epoch milliseconds, if it did. */
  returnAt: number | undefined
  /** The largest message that the server accepts, in bytes. */
  maxMessage: number
  /** How long the server recognizes a request that is sent again, in milliseconds, or 0. */
  window: number
  start(): void
  /** Sends a text. Returns false when the connection is not open. */
  send(this: void, text: string): boolean
  /** Checks that a connection is alive; with less patience when the browser is offline. */
  probe(offline?: boolean): void
  /** Calls `ready` after the `onOpen` functions; ends the connection when one fails. */
  prepare(steps: Promise<unknown>, ready: () => void): void
  /** Closes the connection without calling the owner. */
  close(code: number, reason: string | undefined): void
}

/** The data of a welcome or a bye, unchecked. */
export type Fields = Readonly<Record<string, unknown>>

/** The callbacks of a session. */
export interface SessionOwner {
  /** Returns the first message of the client. */
  resumption(): string
  onWelcome(session: Session, welcome: Fields): void
  /** Receives any other message. A push may arrive before the welcome. */
  onMessage(session: Session, message: Incoming): void
  /** Called once, as the last callback. */
  onEnd(session: Session, code: number, reason: string): void
}

/** Creates a session that has not started. */
export function createSession(context: Context, owner: SessionOwner): Session {
  const patience = createTimer()
  const liveness = createLiveness(
    context.pace,
    () => session.send(encode('koaws:ping', undefined, context.nextId())),
    () => end(ABNORMAL, 'no answer to a ping'),
  )
  let socket: WebSocketLike | undefined
  let token: Token
  let over = false
  let asked = false

  const session: Session = {
    openedAt: 0,
    returnAt: undefined,
    maxMessage: Number.MAX_VALUE,
    window: 0,
    start() {
      if (over) return
      if (context.tokenIn === 'handshake') withToken(shakeHands)
      else shakeHands()
    },
    send(text) {
      const open = !over && socket?.readyState === OPEN
      if (open) {
        socket?.send(text)
        liveness.carries(byteLength(text))
      }
      return open
    },
    probe(offline) {
      if (session.openedAt) liveness.probe(offline)
    },
    prepare(steps, ready) {
      if (over) return
      wait('end of onOpen')
      steps
        .then(() => {
          if (over) return
          patience.clear()
          ready()
        })
        .catch((error) => fail(error, 'onOpen failed'))
    },
    close(code, reason) {
      leave()
      socket?.close(code, reason)
    },
  }

  const wait = (what: string): void =>
    patience.set(() => end(ABNORMAL, `no ${what} within 15 s`), PATIENCE)

  const withToken = (use: () => void): void => {
    wait('token')
    takeToken(context.token)
      .then((given) => {
        token = given
        if (!over) use()
      })
      .catch((error) => fail(error, 'no token'))
  }

  const shakeHands = (): void => {
    wait('handshake')
    try {
      const entries = token ? [bearerEntry(token)] : []
      socket = new context.WebSocket(context.url, [KOAWS_V1, ...entries, KOAWS_RESUME])
      socket.onopen = onOpen
      socket.onmessage = onMessage
      socket.onerror = onError
      socket.onclose = onClose
    } catch (error) {
      fail(error, 'no WebSocket')
    }
  }

  const fail = (error: unknown, why: string): void => {
    if (over) return
    context.failed(error)
    end(ABNORMAL, why)
  }

  const onOpen = (): void => {
    if (socket?.protocol === KOAWS_V1) {
      wait('welcome')
      session.send(owner.resumption())
    } else end(4613, `the server does not speak ${KOAWS_V1}`)
  }

  const onMessage = ({ data }: { data: unknown }): void => {
    liveness.heard()
    const small = typeof data === 'string' && data.length <= context.maxMessage
    const message = small && decode(data)
    if (message) {
      deliver(message)
      return
    }
    context.malformed()
    // A stream cannot go on without an item: an item without text ends it.
    const [, id] = LOST_ITEM.exec(textOf(data) ?? '') ?? []
    if (id) owner.onMessage(session, { type: 'koaws:item', id: Number(id), weight: 0 })
  }

  const deliver = (message: Incoming): void => {
    const { type, data } = message
    const fields = (data ?? {}) as Fields
    if (type === 'koaws:bye') onBye(fields)
    else if (type === 'koaws:incoming') liveness.announced(fields['bytes'])
    else if (!session.openedAt && type === 'koaws:welcome') onWelcome(fields)
    else if (!session.openedAt && type === 'koaws:authenticate') onAuthenticate()
    else owner.onMessage(session, message)
  }

  const onWelcome = (welcome: Fields): void => {
    patience.clear()
    session.openedAt = Date.now() || 1 // a test's fake clock may begin at 0
    session.maxMessage = positive(welcome['maxMessage']) || session.maxMessage
    session.window = positive(welcome['retry'])
    liveness.watch(welcome['heartbeat'])
    owner.onWelcome(session, welcome)
  }

  const onAuthenticate = (): void => {
    if (asked) return
    asked = true
    if (context.tokenIn === 'message') withToken(authenticate)
    else authenticate()
  }

  const authenticate = (): void => {
    wait('welcome')
    if (token) session.send(encode('koaws:auth', { token }, context.nextId()))
    else end(4401, 'no token')
  }

  const onBye = ({ after }: Fields): void => {
    if (typeof after === 'number') session.returnAt = Date.now() + clampDelay(after)
  }

  /** Ends a failed handshake that has no close event, as in Node 22. */
  const onError = (): void => {
    if (!session.openedAt) patience.set(() => end(ABNORMAL, 'the handshake failed'), AFTER_ERROR)
  }

  /** Ends the session. Deno reports the code 0 for a failed handshake. */
  const onClose = ({ code, reason }: { code: number; reason?: string }): void =>
    end(code || ABNORMAL, reason || '')

  /** Ends the session once: the server, the network or the client itself may be the cause. */
  const end = (code: number, reason: string): void => {
    if (over) return
    leave()
    // A dead connection does not answer a closing handshake: do not wait for one.
    if (code === ABNORMAL && socket?.terminate) socket.terminate()
    else socket?.close()
    owner.onEnd(session, code, reason)
  }

  /** Stops listening to the WebSocket. */
  const leave = (): void => {
    over = true
    patience.clear()
    liveness.stop()
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.onerror = ignore // ws throws an `error` event without a listener
  }

  return session
}

function ignore(): void {}
