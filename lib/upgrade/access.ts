import type { Context, Middleware } from 'koa'
import compose from 'koa-compose'
import { type Connection, internals } from '../connection/connection.ts'
import type { Access, Authorisation } from '../connection/speaker.ts'
import { MessageError, UpgradeError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import {
  type AcceptOptions,
  type AuthMiddleware,
  assertRooms,
  expiryOf,
  roomsOf,
  userOf,
} from './accept-options.ts'
import type { UpgradeHost } from './host.ts'
import { type HandshakeMemory, rebuildContext, rememberHandshake } from './rebuilt-context.ts'

/** How long the first token may take, in milliseconds, unless the route says otherwise. */
const DEADLINE = 10_000

/** The options `authenticate` and `refresh` of a route, for one connection; null without them. */
export function accessOf(
  connection: Connection,
  ctx: Context,
  options: AcceptOptions,
  host: UpgradeHost,
): Access | null {
  const { authenticate, refresh = authenticate } = options
  return refresh ? new RouteAccess(connection, ctx, { ...options, refresh }, host) : null
}

/** The application's own authentication, on tokens that come in messages. */
class RouteAccess implements Access {
  readonly deadline: number | null
  readonly refreshes = true
  readonly #connection: Connection
  readonly #ctx: Context
  readonly #options: AcceptOptions & { refresh: AuthMiddleware }
  readonly #host: UpgradeHost
  readonly #memory: HandshakeMemory
  /** The names that the last authentication put into the state. */
  #granted: readonly string[]
  #pending: boolean

  constructor(
    connection: Connection,
    ctx: Context,
    options: AcceptOptions & { refresh: AuthMiddleware },
    host: UpgradeHost,
  ) {
    const { authenticate, authenticateTimeout = DEADLINE } = options
    this.#connection = connection
    this.#ctx = ctx
    this.#options = options
    this.#host = host
    this.#memory = rememberHandshake(ctx)
    this.#granted = ['user']
    this.#pending = authenticate !== undefined
    this.deadline = this.#pending ? authenticateTimeout : null
  }

  async authorise(token: string): Promise<Authorisation> {
    const options = this.#options
    const fresh = await this.#authenticated(token)
    const userId = userOf(options, this.#host, fresh)
    const expiresAt = expiryOf(options, fresh)
    if (this.#connection.readyState !== this.#connection.OPEN) throw gone()
    if (this.#pending) await this.#letIn(fresh, userId, expiresAt)
    else this.#renew(fresh, userId, expiresAt)
    return { expiresAt }
  }

  /** The ctx of a token that was accepted. */
  async #authenticated(token: string): Promise<Context> {
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new UpgradeError(
        'ERR_KOAWS_BEARER',
        'The token holds characters that no header may hold.',
      )
    }
    const { authenticate, refresh } = this.#options
    const fresh = rebuildContext(this.#memory, token)
    const chain = composed(this.#pending && authenticate ? authenticate : refresh)
    let reached = false
    const run = chain(fresh, async () => {
      reached = true
    })
    await withDeadline(run, this.#host.handshakeTimeout)
    if (!reached) throw new MessageError(401, 'Not authenticated')
    return fresh
  }

  /** The first token: user, rooms and `onConnect`, as after a handshake. */
  async #letIn(
    fresh: Context,
    userId: string | undefined,
    expiresAt: number | null,
  ): Promise<void> {
    const rooms = roomsOf(this.#options, fresh)
    const rules = this.#host.rules.for(this.#options)
    assertRooms(rooms, rules.maxRooms)
    this.#take(fresh)
    const ctx = this.#ctx
    const inAudiences = this.#options.hub !== false
    const admission = { ctx, userId, expiresAt, rooms, inAudiences, rules }
    const failure = await this.#host.letIn(this.#connection, admission)
    if (failure) throw failure
    this.#pending = false
  }

  /** A new token of the same user: the connection lives on with what it says. */
  #renew(fresh: Context, userId: string | undefined, expiresAt: number | null): void {
    const connection = this.#connection
    const before = (connection.state as { user?: unknown } | undefined)?.user
    const now = fresh.state['user'] as unknown
    if (
      (before !== undefined && now === undefined) ||
      (userId === undefined && connection.userId)
    ) {
      throw new MessageError(401, 'The token names no user')
    }
    // Without the option `user` the token itself has to say whose it is.
    if (userId === undefined && nameOf(before) !== nameOf(now)) {
      internals.closeForCause(connection, CloseCode.otherUser, 'another user')
    } else connection.refresh({ expiresAt, userId })
    if (connection.readyState !== connection.OPEN) throw gone()
    this.#take(fresh)
  }

  /** The state is the same object as before: what this token does not grant any more leaves it. */
  #take({ state: granted }: Context): void {
    const state = this.#connection.state as Record<string, unknown>
    for (const name of this.#granted) if (!Object.hasOwn(granted, name)) delete state[name]
    Object.assign(state, granted)
    this.#granted = Object.keys(granted).filter((name) => !Object.hasOwn(this.#memory.state, name))
  }
}

type Chain = (ctx: Context, next: () => Promise<void>) => Promise<unknown>

const chains = new WeakMap<object, Chain>()

function composed(middleware: AuthMiddleware): Chain {
  let chain = chains.get(middleware)
  if (!chain) {
    chain = compose([middleware].flat() as Middleware[]) as unknown as Chain
    chains.set(middleware, chain)
  }
  return chain
}

/** Who a user is, by the names that tokens and sessions have for that; undefined where it says nothing. */
function nameOf(user: unknown): unknown {
  const { sub, id } = (typeof user === 'object' && user !== null ? user : {}) as {
    sub?: unknown
    id?: unknown
  }
  return sub ?? id
}

async function withDeadline(work: Promise<unknown>, timeout: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new MessageError(503, 'The authentication took too long', { expose: false })
    timer = setTimeout(reject, timeout, error)
    timer.unref()
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function gone(): UpgradeError {
  return new UpgradeError('ERR_KOAWS_CLIENT_GONE', 'The client left while its token was looked at.')
}
