import type { Context, Middleware } from 'koa'
import compose from 'koa-compose'
import type { Connection } from '../connection/connection.ts'
import type { Access, Authorisation } from '../connection/speaker.ts'
import { MessageError, UpgradeError } from '../errors.ts'
import { type AcceptOptions, assertRooms, expiryOf, roomsOf, userOf } from './accept-options.ts'
import type { UpgradeHost } from './host.ts'
import { type RequestRecord, ResponseRecord } from './records.ts'

/** How long the first token may take, in milliseconds, unless the route says otherwise. */
const DEADLINE = 10_000

type Chain = (ctx: Context, next: () => Promise<void>) => Promise<unknown>

/** The options `authenticate` and `refresh` of a route, for one connection; null without them. */
export function accessOf(
  connection: Connection,
  ctx: Context,
  options: AcceptOptions,
  host: UpgradeHost,
): Access | null {
  const { authenticate, refresh = authenticate } = options
  if (!refresh) return null
  let pending = authenticate !== undefined
  const facts = requestOf(ctx)
  return {
    deadline: pending ? (options.authenticateTimeout ?? DEADLINE) : null,
    refreshes: true,
    async authorise(token: string): Promise<Authorisation> {
      const chain = pending ? authenticate : refresh
      const fresh = await authenticated(
        chain as AuthMiddleware,
        facts,
        token,
        host.handshakeTimeout,
      )
      const userId = userOf(options, host, fresh)
      const expiresAt = expiryOf(options, fresh)
      if (connection.readyState !== connection.OPEN) throw gone()
      if (pending) {
        const rooms = roomsOf(options, fresh)
        const rules = host.rules.for(options)
        assertRooms(rooms, rules.maxRooms)
        ctx.state = { ...ctx.state, ...fresh.state }
        const failure = await host.letIn(connection, { ctx, userId, expiresAt, rooms, rules })
        if (failure) throw failure
        pending = false
      } else renew(connection, fresh, userId, expiresAt)
      return { expiresAt }
    },
  }
}

/** Middleware that authenticates, alone or in a row. */
export type AuthMiddleware = Middleware | readonly Middleware[]

/** What is kept of a handshake, to build a ctx from it again. */
interface Facts {
  readonly req: RequestRecord
  readonly ctx: Context
  readonly params: unknown
}

function requestOf(ctx: Context): Facts {
  const { req } = ctx as unknown as { req: RequestRecord }
  return { req, ctx, params: ctx['params'] }
}

/**
 * Run the application's authentication on a ctx like that of the handshake, with another token.
 *
 * @throws what it throws; an error of status 401 where it ends without having called `next()`
 */
async function authenticated(
  chain: AuthMiddleware,
  { req, ctx, params }: Facts,
  token: string,
  timeout: number,
): Promise<Context> {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new UpgradeError(
      'ERR_KOAWS_BEARER',
      'The token holds characters that no header may hold.',
    )
  }
  const fresh = contextLike(ctx, req.withHeader('authorization', `Bearer ${token}`))
  fresh['params'] = params
  let reached = false
  const run = composed(chain)(fresh, async () => {
    reached = true
  })
  await withDeadline(run, timeout)
  if (!reached) throw new MessageError(401, 'Not authenticated')
  return fresh
}

const chains = new WeakMap<object, Chain>()

function composed(middleware: AuthMiddleware): Chain {
  let chain = chains.get(middleware)
  if (!chain) {
    chain = compose([middleware].flat() as Middleware[]) as unknown as Chain
    chains.set(middleware, chain)
  }
  return chain
}

/** What Koa does for a request, with a request that is over. */
function contextLike({ app, hub }: Context, req: RequestRecord): Context {
  const ctx = Object.create(app.context) as Context
  const request = Object.create(app.request) as Context['request']
  const response = Object.create(app.response) as Context['response']
  const parts = { app, ctx, request, response, req, res: new ResponseRecord() }
  Object.assign(request, parts)
  Object.assign(response, parts)
  Object.assign(ctx, parts, { hub, ws: undefined, originalUrl: req.url, state: {} })
  request.originalUrl = req.url
  return ctx
}

/** A new token of the same user: the connection lives on with what it says. */
function renew(
  connection: Connection,
  fresh: Context,
  userId: string | undefined,
  expiresAt: number | null,
): void {
  const before = connection.state as { user?: unknown }
  const lost = before?.user !== undefined && fresh.state['user'] === undefined
  if (lost || (userId === undefined && connection.userId !== undefined)) {
    throw new MessageError(401, 'The token names no user')
  }
  connection.refresh({
    state: { ...(before as object), ...fresh.state },
    expiresAt,
    userId,
  })
  if (connection.readyState !== connection.OPEN) throw gone()
}

async function withDeadline(work: Promise<unknown>, timeout: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new MessageError(503, 'The authentication took too long')),
      timeout,
    )
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
