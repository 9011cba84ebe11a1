// Implements `authenticate` and `refresh`: the application's middleware checks tokens in messages.

import { performance } from 'node:perf_hooks'
import type { Context, Middleware } from 'koa'
import compose from 'koa-compose'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { Access, Authorisation } from '../connection/speaker.ts'
import { MessageError, UpgradeError } from '../errors.ts'
import { fieldsOf } from '../fields.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import {
  type AcceptOptions,
  type AuthMiddleware,
  assertRooms,
  expiryOf,
  roomsOf,
  userOf,
} from './accept-options.ts'
import type { LateAdmission, UpgradeHost } from './host.ts'
import { type HandshakeMemory, rebuildContext, rememberHandshake } from './rebuilt-context.ts'

/** Default of `authenticateTimeout`, in milliseconds. */
const DEADLINE = 10_000

/** Returns how a connection authenticates with tokens in messages; null without the options. */
export function accessOf(
  connection: Connection,
  ctx: Context,
  options: AcceptOptions,
  host: UpgradeHost,
): Access | null {
  const { authenticate, refresh = authenticate } = options
  return refresh ? new RouteAccess(connection, ctx, { ...options, refresh }, host) : null
}

/** Runs the application's middleware on tokens in messages. */
class RouteAccess implements Access {
  readonly deadline: number | null
  readonly refreshes = true
  readonly #connection: Connection
  readonly #ctx: Context
  readonly #options: AcceptOptions & { refresh: AuthMiddleware }
  readonly #host: UpgradeHost
  readonly #memory: HandshakeMemory
  /** Names in the state that the last authentication set. */
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
    const since = performance.now()
    const fresh = await this.#authenticated(token)
    const userId = userOf(options, this.#host, fresh)
    const expiresAt = expiryOf(options, fresh)
    if (this.#connection.readyState !== this.#connection.OPEN) throw gone()
    if (this.#pending) await this.#letIn(fresh, { userId, expiresAt, since })
    else this.#renew(fresh, userId, expiresAt)
    return { expiresAt }
  }

  /** Runs the middleware on a token, and returns its ctx. @throws if the token is rejected */
  async #authenticated(token: string): Promise<Context> {
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new UpgradeError(
        'ERR_KOAWS_BEARER',
        'The token has characters that are not allowed in a header.',
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

  /** Lets the connection in after the first token, as after a handshake. */
  async #letIn(
    fresh: Context,
    authorised: Pick<LateAdmission, 'userId' | 'expiresAt' | 'since'>,
  ): Promise<void> {
    const rooms = roomsOf(this.#options, fresh)
    const rules = this.#host.rules.for(this.#options)
    assertRooms(rooms, rules.maxRooms)
    this.#take(fresh)
    const ctx = this.#ctx
    const inAudiences = this.#options.hub !== false
    const admission = { ctx, ...authorised, rooms, inAudiences, rules }
    const failure = await this.#host.connections.letIn(this.#connection, admission)
    if (failure) throw failure
    this.#pending = false
  }

  /** Applies a new token of the same user to the open connection. */
  #renew(fresh: Context, userId: string | undefined, expiresAt: number | null): void {
    const connection = this.#connection
    if (userId !== undefined) connection.refresh({ expiresAt, userId })
    else {
      // Without the option `user`, both tokens must name the same user.
      const before = nameOf(fieldsOf(connection.state)['user'])
      const now = nameOf(fresh.state['user'])
      if (connection.userId !== undefined || before === null || now === null) {
        throw new MessageError(401, NAMELESS)
      }
      if (before === now) connection.refresh({ expiresAt })
      else coreOf(connection).closeForCause(CloseCode.otherUser, 'another user')
    }
    if (connection.readyState !== connection.OPEN) throw gone()
    this.#take(fresh)
  }

  /** Updates the state object in place. Names that the new token no longer grants are removed. */
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

const NAMELESS =
  'The token names no user: set the option "user", or give ctx.state.user a "sub" or an "id".'

/**
 * Returns a text that is equal for equal users only, from `ctx.state.user`; null when it names no
 * user. A `sub` is unique within its issuer (RFC 7519, section 4.1.2), and unrelated to an `id`.
 */
function nameOf(user: unknown): string | null {
  if (typeof user !== 'object' || user === null) return null
  const { iss, sub, id } = fieldsOf(user)
  const [claim, name] = isName(sub) ? ['sub', sub] : ['id', id]
  if (!isName(name)) return null
  return JSON.stringify([claim, typeof name, String(name), typeof iss === 'string' ? iss : null])
}

function isName(value: unknown): value is string | number | bigint {
  if (typeof value === 'number') return Number.isFinite(value)
  return typeof value === 'bigint' || (typeof value === 'string' && value !== '')
}

async function withDeadline(work: Promise<unknown>, timeout: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new MessageError(
      503,
      `The authentication took longer than ${timeout} ms ("handshakeTimeout")`,
      { expose: false },
    )
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
  return new UpgradeError(
    'ERR_KOAWS_CLIENT_GONE',
    'The client left while its token was being checked.',
  )
}
