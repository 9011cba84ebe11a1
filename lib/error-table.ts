// The error codes, and what each looks like from outside: HTTP status, close code.

import { type ErrorInfo, type MessageFault, messageFaults } from './message-faults.ts'

export type { ErrorInfo, MessageFault } from './message-faults.ts'

/** The stable names of koaws' errors. */
export type ErrorCode =
  | 'ERR_KOAWS_BAD_HANDSHAKE'
  | 'ERR_KOAWS_VERSION'
  | 'ERR_KOAWS_ORIGIN'
  | 'ERR_KOAWS_TOO_MANY'
  | 'ERR_KOAWS_DRAINING'
  | 'ERR_KOAWS_DEADLINE'
  | 'ERR_KOAWS_CLIENT_GONE'
  | 'ERR_KOAWS_ALREADY_ACCEPTED'
  | 'ERR_KOAWS_RESPONDED'
  | 'ERR_KOAWS_RESPOND_FALSE'
  | 'ERR_KOAWS_NOT_INSTALLED'
  | 'ERR_KOAWS_NOT_AN_UPGRADE'
  | 'ERR_KOAWS_SUBPROTOCOL'
  | 'ERR_KOAWS_BEARER'
  | 'ERR_KOAWS_EXPIRED'
  | 'ERR_KOAWS_OPTIONS'
  | 'ERR_KOAWS_ITERATING'
  | 'ERR_KOAWS_NO_AUDIENCE'
  | 'ERR_KOAWS_CLOSED'
  | 'ERR_KOAWS_SLOW_CONSUMER'
  | 'ERR_KOAWS_MAX_ROOMS'
  | 'ERR_KOAWS_MAX_PER_USER'
  | 'ERR_KOAWS_NOT_NEGOTIATED'
  | 'ERR_KOAWS_ALREADY_REPLIED'
  | 'ERR_KOAWS_TIMEOUT'
  | 'ERR_KOAWS_NO_HISTORY'
  | 'ERR_KOAWS_REPLAY'
  | 'ERR_KOAWS_BACKPLANE'
  | 'ERR_KOAWS_BACKPLANE_REFUSED'
  | MessageFault

const info = (
  status: number | null,
  client: ErrorInfo['client'],
  expose: boolean,
  meaning: string,
): ErrorInfo => ({ status, closeCode: null, reply: null, client, expose, meaning })

/**
 * Every error of koaws, and what each looks like from outside: the HTTP status before the 101, the
 * close code after it. `docs/reference/errors.md` is generated from this table.
 */
export const errorTable: Readonly<Record<ErrorCode, ErrorInfo>> = {
  ERR_KOAWS_BAD_HANDSHAKE: info(
    400,
    'stop',
    true,
    'The request is not a valid WebSocket handshake (RFC 6455, section 4.2.1): the key, Host, the HTTP version, a declared body, or the list of subprotocols is wrong. The status is 405 when the method is not GET.',
  ),
  ERR_KOAWS_VERSION: info(
    426,
    'stop',
    true,
    '`Sec-WebSocket-Version` is not exactly 13. The response names the supported version.',
  ),
  ERR_KOAWS_ORIGIN: info(
    403,
    'stop',
    true,
    'The origin of the page, or the host of the request, is not allowed. See the options `origin` and `hosts`.',
  ),
  ERR_KOAWS_TOO_MANY: info(
    503,
    'back off',
    true,
    '`maxConnections` (503), `maxPerAddress` (429) or `maxPerSession` (429) is reached. Pending upgrades count.',
  ),
  ERR_KOAWS_DRAINING: info(
    503,
    'back off',
    true,
    '`hub.close()` was called, or the `WebSocketServer` of `forward()` is closed. The response has `Retry-After`. During a shutdown, messages are answered with the same code.',
  ),
  ERR_KOAWS_DEADLINE: info(
    503,
    'back off',
    true,
    'The middleware chain took longer than `handshakeTimeout`.',
  ),
  ERR_KOAWS_CLIENT_GONE: info(
    null,
    '–',
    true,
    'The client left before the upgrade was decided. Koa’s default error handler does not print this error.',
  ),
  ERR_KOAWS_ALREADY_ACCEPTED: info(
    500,
    '–',
    false,
    'The upgrade already has a handler: it was accepted twice, or `ctx.ws(handler)` and `await ctx.ws()` were mixed. Accept in one place.',
  ),
  ERR_KOAWS_RESPONDED: info(
    500,
    '–',
    false,
    '`ctx.ws` was called after an HTTP response had begun. Usually an earlier middleware lacks `await next()` or `return next()`, so that Koa has already answered with 404.',
  ),
  ERR_KOAWS_RESPOND_FALSE: info(
    500,
    '–',
    false,
    '`ctx.ws(handler)` or `accept()` was used with `ctx.respond = false`. Koa does not end such a response, so that the accept would never happen. Leave `ctx.respond` alone, or use `await ctx.ws()`.',
  ),
  ERR_KOAWS_NOT_INSTALLED: info(
    500,
    '–',
    false,
    'An upgrade reached `accept()`, `bearer()` or `hub.route()` before the plugin. Move `app.use(koaWs())` before it.',
  ),
  ERR_KOAWS_NOT_AN_UPGRADE: info(
    426,
    '–',
    true,
    'A plain HTTP request reached `accept()`. Over HTTP/1.1 the response has `Upgrade: websocket`.',
  ),
  ERR_KOAWS_SUBPROTOCOL: info(
    400,
    'stop',
    true,
    'The route does not speak the offered subprotocols, or the client offered only credentials.',
  ),
  ERR_KOAWS_BEARER: info(
    400,
    'stop',
    true,
    'The handshake has two different tokens, a bearer entry that cannot be decoded, or a token with characters that are not allowed in a header.',
  ),
  ERR_KOAWS_EXPIRED: info(
    401,
    'stop',
    true,
    'The authorization (`expiresAt`, or the `exp` of koa-jwt’s token) had already expired at the handshake.',
  ),
  ERR_KOAWS_OPTIONS: info(
    null,
    '–',
    false,
    'An option is unknown, has the wrong type, or contradicts another: thrown where the option is given. Or a function of the options returned an invalid value: thrown in the chain.',
  ),
  ERR_KOAWS_ITERATING: info(
    null,
    '–',
    false,
    'A second `for await` loop was started over a connection. Use one loop, and pass its messages on.',
  ),
  ERR_KOAWS_NO_AUDIENCE: info(
    null,
    '–',
    false,
    'A connection that was accepted with `hub: false` cannot join a room.',
  ),
  ERR_KOAWS_NO_HISTORY: info(
    null,
    '–',
    false,
    'Messages of this room or user are not recorded: the option `history` does not include it.',
  ),
  ERR_KOAWS_REPLAY: info(
    null,
    '–',
    false,
    '`connection.replay()` came too late: the connection was in the room already.',
  ),
  ERR_KOAWS_CLOSED: info(
    null,
    '–',
    false,
    'The connection or the hub is closed, so that the operation is no longer possible.',
  ),
  ERR_KOAWS_SLOW_CONSUMER: {
    ...info(
      null,
      'back off',
      false,
      'A message was dropped because the client receives more slowly than the server sends. See the options `maxBufferedAmount` and `slowConsumer`. The callback of `connection.send()` gets this error.',
    ),
    closeCode: 4610,
  },
  ERR_KOAWS_MAX_ROOMS: info(
    null,
    '–',
    false,
    'The connection would be in more rooms than the option `maxRooms` allows. It stays in its present rooms only.',
  ),
  ERR_KOAWS_MAX_PER_USER: info(
    429,
    'back off',
    true,
    'The user has the most connections to this instance that `maxPerUser` allows. The response has `Retry-After`.',
  ),
  ERR_KOAWS_NOT_NEGOTIATED: info(
    null,
    '–',
    false,
    '`connection.push()` or `connection.request()` was called on a connection without `koaws.v1`, or without `messages()`.',
  ),
  ERR_KOAWS_ALREADY_REPLIED: info(
    null,
    '–',
    false,
    'A handler replied twice to one request: with two calls of `message.reply()`, or with `message.reply()` and a returned value.',
  ),
  ERR_KOAWS_TIMEOUT: info(
    null,
    '–',
    false,
    'The other side did not answer a request in time: `connection.request()` on the server, `client.request()` on the client. The request may have been carried out.',
  ),
  ERR_KOAWS_BACKPLANE: info(
    null,
    '–',
    false,
    'The backplane (Redis, or the socket of another process) is unreachable, so that it is unknown whether it accepted a publish. Also thrown by `clusterAdapter()` when it cannot use its folder.',
  ),
  ERR_KOAWS_BACKPLANE_REFUSED: info(
    null,
    '–',
    false,
    'The backplane rejected a publish, and would reject it again: `NOPERM` of Redis for a user without the permission, or a full queue or a too large payload of `clusterAdapter()`.',
  ),
  ...messageFaults,
}

/** Of a code that is the application's own. */
const UNLISTED: ErrorInfo = info(null, '–', true, '')

/** The entry of a code: for a code of the application, one with neither status nor close code. */
export function errorInfo(code: string): ErrorInfo {
  return isListed(code) ? errorTable[code] : UNLISTED
}

function isListed(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code)
}
