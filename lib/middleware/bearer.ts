// Provides `bearer()`, which turns the token of a handshake into an `Authorization` header.

import type { Context, Middleware } from 'koa'
import { UpgradeError } from '../errors.ts'
import { bearerToken } from '../protocol/subprotocol.ts'
import { asksForWebSocket } from '../upgrade/handshake.ts'
import { isRebuilt } from '../upgrade/rebuilt-context.ts'
import { type Upgrade, upgradeOf } from '../upgrade/upgrade.ts'
import { check, validate } from '../validate.ts'
import { notPassed } from './accept.ts'
import { contextUpgrade } from './context.ts'

/** Further places where `bearer()` looks for a token, beside the header and the subprotocol. */
export interface BearerOptions {
  /** The name of a cookie that holds the token. @default no cookie is read */
  cookie?: string | undefined
  /**
   * The name of a query parameter that holds the token. Proxies log URLs, so prefer the
   * subprotocol. @default no parameter is read
   */
  query?: string | undefined
}

/**
 * Returns middleware that lets unmodified koa-jwt, koa-passport and similar middleware authenticate
 * browsers, which cannot set `Authorization` on a WebSocket. It acts on upgrades only. The token
 * comes from the offered subprotocol `koaws.bearer.<token>` (or `koaws.bearer64.<base64url>`, for a
 * token that is not a token of RFC 9110), the cookie, or the query. An existing `Authorization`
 * header is kept.
 *
 * Put it after `app.use(koaWs())`, which checks the origin, and before the authentication. The
 * header that it sets is not enumerable, so loggers do not copy it, and it is removed when the
 * chain ends.
 *
 * Two different tokens, or a token that cannot be decoded, get 400.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, bearer } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(bearer())
 * app.use((ctx, next) => {
 *   if (ctx.get('Authorization') !== 'Bearer secret') ctx.throw(401) // such as koa-jwt
 *   return next()
 * })
 * app.use(accept((connection) => connection.send('authenticated')))
 *
 * const socket = await testApp(app).connect('/', { protocols: ['app.v1', 'koaws.bearer.secret'] })
 * console.log(socket.protocol) // app.v1
 * console.log(await socket.next()) // authenticated
 * ```
 *
 * @param options further places to look for the token
 * @throws OptionsError (when called) for an option that is unknown or wrong
 */
export function bearer(options: BearerOptions = {}): Middleware {
  validate('bearer()', options, { cookie: check.string, query: check.string })
  return async (ctx, next) => {
    const upgrade = contextUpgrade(ctx)
    // A ctx rebuilt for a token in a message already has its `Authorization`.
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

/** Returns the token of the handshake; null without one, or with `Authorization`. */
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
  if (cookie !== undefined) add(cookieToken(ctx, cookie))
  if (query !== undefined) add(strikeQuery(ctx, upgrade, query))
  const { authorization } = ctx.req.headers
  // Node keeps the first of several headers, and another reader of the raw headers may keep the
  // last.
  if (new Set(rawValues(ctx.req.rawHeaders, 'authorization')).size > 1) {
    throw badBearer('Two different Authorization headers came with this handshake.')
  }
  if (authorization === undefined) {
    if (found.size > 1) throw badBearer('Two different tokens came with this handshake.')
    const token = found.values().next().value ?? null
    if (token !== null && !/^[\x21-\x7e]+$/.test(token)) {
      throw badBearer('The token has characters that are not allowed in a header.')
    }
    return token
  }
  // An existing header is never replaced. A different second credential is an error.
  const stated = /^bearer +(\S+) *$/i.exec(authorization)?.[1]
  for (const token of found) {
    if (token !== stated) throw badBearer('Authorization and another credential differ.')
  }
  return null
}

/** Returns the token of the cookie. Two sites of a domain may each have set one. */
function cookieToken(ctx: Context, name: string): string | undefined {
  const values = (ctx.req.headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
  if (new Set(values).size > 1) throw badBearer('Two different tokens came with this handshake.')
  return ctx.cookies.get(name, { signed: false })
}

function rawValues(raw: readonly string[], name: string): string[] {
  return raw.filter((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name)
}

/** Removes the token from every URL that later middleware can see. Returns the token. */
function strikeQuery(ctx: Context, upgrade: Upgrade, name: string): string | undefined {
  const value = ctx.query[name]
  const { req } = ctx
  const before = req.url as string
  const struck = without(before, name)
  if (struck !== before) {
    const { rawHeaders } = req
    const { originalUrl }: object & { originalUrl?: unknown } = req
    const rawPath = rawHeaders.findIndex((_one, i) => i % 2 === 1 && rawHeaders[i - 1] === ':path')
    const rawBefore = rawHeaders[rawPath]
    upgrade.onAbandon(() => {
      req.url = before
      if (rawBefore !== undefined) rawHeaders[rawPath] = rawBefore
      if (typeof originalUrl === 'string') Object.assign(req, { originalUrl })
    })
    req.url = struck
    // Over HTTP/2 the target is also a raw header, which Node leaves unchanged.
    if (rawBefore !== undefined) rawHeaders[rawPath] = without(rawBefore, name)
    // Express and connect keep another copy of the URL.
    if (typeof originalUrl === 'string') {
      Object.assign(req, { originalUrl: without(originalUrl, name) })
    }
    ctx.originalUrl = ctx.request.originalUrl = without(ctx.originalUrl, name)
    // Koa and parseurl cache what they parse of a URL.
    const cache: object & { memoizedURL?: unknown; _querycache?: unknown } = ctx.request
    cache.memoizedURL = cache._querycache = undefined
    const parsed: object & { _parsedUrl?: unknown } = req
    parsed._parsedUrl = undefined
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
  // Some versions of Koa parse "??a=b" as "?a=b".
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
