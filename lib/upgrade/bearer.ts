import type { Context, Middleware } from 'koa'
import { UpgradeError } from '../errors.ts'
import { bearerToken } from '../protocol/subprotocol.ts'
import { check, validate } from '../validate.ts'
import { notPassed } from './accept-middleware.ts'
import { contextUpgrade } from './context.ts'
import { asksForWebSocket } from './handshake.ts'
import { isRebuilt } from './rebuilt-context.ts'
import { type Upgrade, upgradeOf } from './upgrade.ts'

/** Where `bearer()` looks beside the header and the subprotocol. */
export interface BearerOptions {
  /** The name of a cookie that holds the token. Unset: no cookie is read. */
  cookie?: string | undefined
  /**
   * The name of a query parameter that holds the token. Unset: none is read. URLs end up in logs of
   * proxies, so prefer the subprotocol.
   */
  query?: string | undefined
}

/**
 * Middleware that lets unmodified koa-jwt, koa-passport and their like authenticate browsers, which
 * cannot set `Authorization` on a WebSocket. On upgrades only, it lifts the first token of: the
 * `Authorization` header itself, the offered subprotocol `koaws.bearer.<token>` (or
 * `koaws.bearer64.<base64url>` for a token that is no RFC 9110 token), the cookie, the query.
 *
 * Stands after `app.use(koaWs())`, so that the origin was checked, and before the authentication.
 * The header that it sets is not enumerable and goes with the chain, so that no logger copies it.
 *
 * Two different tokens, or one that cannot be decoded, get 400.
 *
 * @throws OptionsError (when it is made) for an option that it does not know
 */
export function bearer(options: BearerOptions = {}): Middleware {
  validate('bearer()', options, { cookie: check.string, query: check.string })
  return async (ctx, next) => {
    const upgrade = contextUpgrade(ctx)
    // On the ctx of a token that came in a message there is nothing to lift.
    if (isRebuilt(ctx)) return next()
    if (!upgrade) {
      if (upgradeOf(ctx.req) || asksForWebSocket(ctx.req)) throw notPassed(ctx)
      return next()
    }
    const token = findToken(ctx, upgrade, options)
    if (token === null) return next()
    const { headers } = ctx.req
    const value = `Bearer ${token}`
    Object.defineProperty(headers, 'authorization', {
      value,
      configurable: true,
      enumerable: false,
    })
    const remove = (): void => {
      if (headers.authorization === value) Reflect.deleteProperty(headers, 'authorization')
    }
    upgrade.onAbandon(remove)
    try {
      return await next()
    } finally {
      remove()
    }
  }
}

/** The one token that came with the handshake, where no `Authorization` header did. */
function findToken(
  ctx: Context,
  upgrade: Upgrade,
  { cookie, query }: BearerOptions,
): string | null {
  const found = new Set<string>()
  const add = (token: string | undefined): void => {
    if (token) found.add(token)
  }
  for (const entry of upgrade.offer.bearers) {
    const token = bearerToken(entry)
    if (token === null)
      throw badBearer('The bearer entry of Sec-WebSocket-Protocol cannot be decoded.')
    add(token)
  }
  if (cookie !== undefined) add(ctx.cookies.get(cookie, { signed: false }))
  if (query !== undefined) add(strikeQuery(ctx, upgrade, query))
  const { authorization } = ctx.req.headers
  if (authorization === undefined) {
    if (found.size > 1) throw badBearer('Two different tokens came with this handshake.')
    const token = found.values().next().value ?? null
    if (token !== null && !/^[\x21-\x7e]+$/.test(token)) {
      throw badBearer('The token holds characters that no header may hold.')
    }
    return token
  }
  // Never over an existing header; but a second, different credential is a contradiction.
  const stated = /^bearer +(\S+) *$/i.exec(authorization)?.[1]
  for (const token of found) {
    if (token !== stated) throw badBearer('Authorization and another credential differ.')
  }
  return null
}

/** Take the token out of every URL that middleware can see from here on. */
function strikeQuery(ctx: Context, upgrade: Upgrade, name: string): string | undefined {
  const value = ctx.query[name]
  const { req } = ctx
  const before = req.url as string
  const struck = without(before, name)
  if (struck !== before) {
    upgrade.onAbandon(() => {
      req.url = before
    })
    req.url = struck
    ctx.originalUrl = ctx.request.originalUrl = without(ctx.originalUrl, name)
    // Koa caches what it has parsed of a URL.
    const cache = ctx.request as { memoizedURL?: unknown; _querycache?: unknown }
    cache.memoizedURL = cache._querycache = undefined
    ;(req as { _parsedUrl?: unknown })._parsedUrl = undefined
  }
  if (!Array.isArray(value)) return value
  if (new Set(value).size > 1) throw badBearer('Two different tokens came with this handshake.')
  return value[0]
}

function without(url: string, name: string): string {
  const start = url.indexOf('?')
  if (start < 0) return url
  const kept = url
    .slice(start + 1)
    .split('&')
    .filter((pair) => decodeName(pair) !== name)
  return kept.length > 0 ? `${url.slice(0, start)}?${kept.join('&')}` : url.slice(0, start)
}

function decodeName(pair: string): string {
  // Some versions of Koa read "??a=b" as "?a=b".
  const name = (pair.split('=', 1)[0] as string).replace(/^\?+/, '').replaceAll('+', ' ')
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

function badBearer(message: string): UpgradeError {
  return new UpgradeError('ERR_KOAWS_BEARER', message)
}
