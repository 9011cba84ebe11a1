// The error codes that answer a message of `koaws.v1`.

/**
 * One error of koaws, as it looks from outside: the HTTP status before the 101, the close code after
 * it.
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
  | 'ERR_KOAWS_STREAM'
  | 'ERR_KOAWS_STREAM_LIMIT'
  | 'ERR_KOAWS_STREAM_MEMORY'
  | 'ERR_KOAWS_STREAM_IDLE'
  | 'ERR_KOAWS_STREAM_LOST'

const fault = (reply: number, client: ErrorInfo['client'], meaning: string): ErrorInfo => ({
  status: null,
  closeCode: null,
  reply,
  client,
  expose: true,
  meaning,
})

/** The errors that answer a message. */
export const messageFaults: Readonly<Record<MessageFault, ErrorInfo>> = {
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
  ERR_KOAWS_STREAM: fault(
    400,
    'stop',
    'The type has a stream, and the request did not ask for it: use `client.stream()` or `client.upload()`. Also an item without credit.',
  ),
  ERR_KOAWS_STREAM_LIMIT: fault(
    429,
    'back off',
    'The connection or the user has too many open streams: see the option `streams`. The request was not carried out.',
  ),
  ERR_KOAWS_STREAM_MEMORY: fault(
    503,
    'back off',
    'The streams of the instance hold more bytes than the option `streams` allows.',
  ),
  ERR_KOAWS_STREAM_IDLE: fault(
    408,
    'stop',
    'The client took nothing from a stream, or sent nothing into one, for too long: see the option `streams`.',
  ),
  ERR_KOAWS_STREAM_LOST: fault(
    503,
    'stop',
    'The stream cannot be resumed, or its instance shuts down. `data.items` is the number of items before the loss, if known.',
  ),
}
