// The error codes, and what each looks like from outside: HTTP status, close code.

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

/** The codes of errors that answer a message: `docs/protocol.md`, section 4. */
export type MessageFault =
  | 'ERR_KOAWS_MALFORMED'
  | 'ERR_KOAWS_BINARY'
  | 'ERR_KOAWS_TOO_LARGE'
  | 'ERR_KOAWS_TOO_DEEP'
  | 'ERR_KOAWS_PROTOTYPE_KEY'
  | 'ERR_KOAWS_UNKNOWN_TYPE'
  | 'ERR_KOAWS_INVALID'
  | 'ERR_KOAWS_UNAUTHENTICATED'
  | 'ERR_KOAWS_AUTH'
  | 'ERR_KOAWS_BUSY'
  | 'ERR_KOAWS_UNHANDLED'
  | 'ERR_KOAWS_OUTCOME_UNKNOWN'
  | 'ERR_KOAWS_ANSWER_NOT_KEPT'
  | 'ERR_KOAWS_KEY_REUSED'
  | 'ERR_KOAWS_TOO_MANY_KEYS'
  | 'ERR_KOAWS_RETRY_STORE'

/**
 * Every error of koaws, and what each looks like from outside: the HTTP status before the 101, the
 * close code after it. `docs/reference/errors.md` is generated from this table.
 */
export interface ErrorInfo {
  /** The HTTP status that a client gets before the 101, or null where none is sent. */
  readonly status: number | null
  /** The close code that a client gets after the 101, or null where none is sent. */
  readonly closeCode: number | null
  /** The status in the error that answers a message of `koaws.v1`, or null where none is sent. */
  readonly reply: number | null
  /** What a client should do. */
  readonly client: 'stop' | 'back off' | '–'
  /** Whether the message may be shown to the client (http-errors' `expose`). */
  readonly expose: boolean
  /** When it happens and what to do, for the reference. */
  readonly meaning: string
}

const info = (
  status: number | null,
  client: ErrorInfo['client'],
  expose: boolean,
  meaning: string,
): ErrorInfo => ({ status, closeCode: null, reply: null, client, expose, meaning })

const fault = (reply: number, client: ErrorInfo['client'], meaning: string): ErrorInfo => ({
  status: null,
  closeCode: null,
  reply,
  client,
  expose: true,
  meaning,
})

/** The table of codes. */
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
  ERR_KOAWS_MALFORMED: fault(
    400,
    'stop',
    'The message is not JSON or not an object, or its `type` or `id` is invalid. Also a `koaws:auth` without `id` or `token`.',
  ),
  ERR_KOAWS_BINARY: fault(400, 'stop', 'The message is binary; `koaws.v1` has only text messages.'),
  ERR_KOAWS_TOO_LARGE: fault(
    413,
    'stop',
    'The message is larger than `maxMessage` of `messages()`.',
  ),
  ERR_KOAWS_TOO_DEEP: fault(
    400,
    'stop',
    'Arrays and objects in the message are nested deeper than 32 levels.',
  ),
  ERR_KOAWS_PROTOTYPE_KEY: fault(
    400,
    'stop',
    'An object in the message has the property `__proto__`, or `constructor` with a `prototype`.',
  ),
  ERR_KOAWS_UNKNOWN_TYPE: fault(
    404,
    'stop',
    'The server has no handler for this type; for a request of the server, the client has no listener.',
  ),
  ERR_KOAWS_INVALID: fault(
    400,
    'stop',
    'The schema does not allow the data: `data.issues` says where. On the server, a push or a reply with invalid data throws it too (`validateOut`).',
  ),
  ERR_KOAWS_UNAUTHENTICATED: fault(
    401,
    'stop',
    'The message arrived before a token was accepted (the option `authenticate`).',
  ),
  ERR_KOAWS_AUTH: fault(
    401,
    'stop',
    'The token in a `koaws:auth` was rejected. The status is that of the rejection.',
  ),
  ERR_KOAWS_BUSY: fault(
    409,
    'back off',
    'Another `koaws:auth` is being handled. From the fourth of these errors on one connection, each counts as an offense.',
  ),
  ERR_KOAWS_UNHANDLED: fault(
    404,
    '–',
    'Middleware of `messages()` neither replied nor called `next()`, so that the handler did not run.',
  ),
  ERR_KOAWS_OUTCOME_UNKNOWN: fault(
    500,
    'stop',
    'A request with `retry: true` was sent again, and it cannot be known whether it was carried out: the server restarted, another instance had it and shares no record, or the record was lost. It is not carried out again. Look at the state before you repeat it.',
  ),
  ERR_KOAWS_ANSWER_NOT_KEPT: fault(
    500,
    'stop',
    'A request with `retry: true` was carried out, but its answer was not kept for the client that came back: it has more than 16 KiB, or the kept answers of the instance have reached their limit.',
  ),
  ERR_KOAWS_KEY_REUSED: fault(409, 'stop', 'The `key` belongs to a request with other data.'),
  ERR_KOAWS_TOO_MANY_KEYS: fault(
    429,
    'back off',
    'The user, or the connection without a user, has 64 requests with `retry: true` in the last minutes, or the instance has too many. The request was not carried out.',
  ),
  ERR_KOAWS_RETRY_STORE: fault(503, 'back off', 'The engine is away: the handler did not run.'),
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
