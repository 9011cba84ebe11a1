import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import type { Context } from './context.ts'
import { decode, encode, type Incoming, positive } from './envelope.ts'
import { RequestError } from './errors.ts'
import { createLiveness } from './liveness.ts'
import { createTimer } from './timer.ts'
import { bearerEntry, type Token, takeToken } from './token.ts'
import { clampDelay } from './verdict.ts'
import { OPEN, type WebSocketLike } from './web-socket.ts'

/** How long each step to an open connection may take, in milliseconds. */
const PATIENCE = 15_000

/** The code of a connection that ended without a close frame. */
const ABNORMAL = 1006

/** The error for a message that cannot be read, or is above the option `maxMessage`. */
const UNREADABLE = { code: 'ERR_KOAWS_MALFORMED', status: 400 }

/** The life of one WebSocket: token, handshake, welcome, messages, end. */
export interface Session {
  /** When the welcome came, in epoch milliseconds, or 0. */
  openedAt: number
  /** When the server wants the client back, in epoch milliseconds, if it said so. */
  returnAt: number | undefined
  /** The largest message that the server takes, in bytes. */
  maxMessage: number
  start(): void
  /** Send, or say no: the connection is not open, or not any more. */
  send(text: string): boolean
  /** See whether an open connection is alive. */
  probe(): void
  /** End it, without telling the owner. */
  close(code: number, reason: string | undefined): void
}

/** Data of a welcome or a bye: as the server sent them, not checked. */
export type Fields = Readonly<Record<string, unknown>>

/** Whom a session tells. */
export interface SessionOwner {
  onWelcome(session: Session, welcome: Fields): void
  /** A message that is not about the connection itself. A push may come before the welcome. */
  onMessage(session: Session, message: Incoming): void
  /** The last call, once. */
  onEnd(session: Session, code: number, reason: string): void
}

/** A session that has not begun. */
export function createSession(context: Context, owner: SessionOwner): Session {
  const patience = createTimer()
  const liveness = createLiveness(
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
    start() {
      if (over) return
      if (context.tokenIn === 'handshake') withToken(shakeHands)
      else shakeHands()
    },
    send(text) {
      const open = !over && socket?.readyState === OPEN
      if (open) socket?.send(text)
      return open
    },
    probe() {
      if (session.openedAt) liveness.probe()
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
      socket = new context.WebSocket(context.url, [KOAWS_V1, ...entries])
      socket.onopen = onOpen
      socket.onmessage = onMessage
      socket.onerror = ignore // the close event follows
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
    if (socket?.protocol === KOAWS_V1) wait('welcome')
    else end(4613, `the server does not speak ${KOAWS_V1}`)
  }

  const onMessage = ({ data }: { data: unknown }): void => {
    liveness.heard()
    const small = typeof data === 'string' && data.length <= context.maxMessage
    const message = small && decode(data)
    if (message) deliver(message)
    else context.failed(new RequestError('The server sent what is no message', UNREADABLE))
  }

  const deliver = (message: Incoming): void => {
    const { type, data } = message
    const fields = (data ?? {}) as Fields
    if (type === 'koaws:bye') onBye(fields)
    else if (!session.openedAt && type === 'koaws:welcome') onWelcome(fields)
    else if (!session.openedAt && type === 'koaws:authenticate') onAuthenticate()
    else owner.onMessage(session, message)
  }

  const onWelcome = (welcome: Fields): void => {
    patience.clear()
    session.openedAt = Date.now() || 1 // the fake clock of a test may begin at 0
    session.maxMessage = positive(welcome['maxMessage']) || session.maxMessage
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

  const onClose = ({ code, reason }: { code: number; reason: string }): void => end(code, reason)

  /** Whether the server, the network or the client itself ended it. */
  const end = (code: number, reason: string): void => {
    if (over) return
    leave()
    // A connection that is dead answers no closing handshake: its end is not waited for.
    if (code === ABNORMAL && socket?.terminate) socket.terminate()
    else socket?.close()
    owner.onEnd(session, code, reason)
  }

  /** Hear no more of the WebSocket. */
  const leave = (): void => {
    over = true
    patience.clear()
    liveness.stop()
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.onerror = ignore // ws throws an error that nobody hears
  }

  return session
}

function ignore(): void {}
