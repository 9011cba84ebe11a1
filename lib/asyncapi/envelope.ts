// The JSON Schemas of the envelopes of `koaws.v1`: `docs/protocol.md`, sections 2 to 5.
import { errorTable } from '../index.ts'
import { reference } from './fields.ts'
import type { JsonSchema, JsonSchemaObject } from './types.ts'

const ID: JsonSchema = {
  type: 'integer',
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  description:
    'Identifies a request, and the answer to it. The sender chooses it, and does not use it again while the answer is outstanding.',
}

const TEXT: JsonSchema = { type: 'string' }
/** A number of things. */
export const COUNT: JsonSchemaObject = { type: 'integer', minimum: 0 }
const CREDIT: JsonSchemaObject = { ...COUNT, minimum: 1 }
const TIME: JsonSchema = { type: ['integer', 'null'], description: 'Epoch milliseconds.' }

const POSITION: JsonSchema = {
  type: 'string',
  maxLength: 255,
  description: 'A place in the history of a room.',
}

/** Returns the schema of an object: names that end with `?` are optional. */
export function object(
  properties: Readonly<Record<string, JsonSchema>>,
  description?: string,
): JsonSchemaObject {
  const entries = Object.entries(properties)
  const required = entries.map(([name]) => name).filter((name) => !name.endsWith('?'))
  return {
    type: 'object',
    ...(description !== undefined && { description }),
    ...(required.length > 0 && { required }),
    properties: Object.fromEntries(
      entries.map(([name, one]) => [name.replace(/\?$/, ''), one] as const),
    ),
  }
}

/** The places of the shared parts. */
export const SHARED: Readonly<Record<'id' | 'error', { readonly $ref: string }>> = {
  id: reference('components', 'schemas', 'koaws_id'),
  error: reference('components', 'schemas', 'koaws_error'),
}

/** The parts that several envelopes share, by name. */
export function sharedSchemas(): Record<string, JsonSchema> {
  return { koaws_id: ID, koaws_error: errorSchema() }
}

/** Returns the error object with every code that answers a message. */
function errorSchema(): JsonSchema {
  const codes = Object.entries(errorTable)
    .filter(([code, { reply }]) => reply !== null || code === 'ERR_KOAWS_DRAINING')
    .map(([code, { reply, status, meaning }]) => ({
      const: code,
      description: `Status ${reply ?? status}. ${meaning}`,
    }))
  const internal = { const: 'internal', description: 'Status 500. The server failed.' }
  const own = { type: 'string', description: 'A code of the application, or of a later version.' }
  return object(
    {
      code: {
        type: 'string',
        description: 'A stable name for programs.',
        anyOf: [...codes, internal, own],
      },
      message: { type: 'string', description: 'A sentence for people.' },
      status: {
        type: 'integer',
        minimum: 400,
        maximum: 599,
        description: 'With its meaning in HTTP.',
      },
      retryable: {
        type: 'boolean',
        description: 'Whether the same request may succeed later.',
      },
      'data?': {
        description:
          'Any value. For ERR_KOAWS_INVALID: { issues: [{ message, path }] }, with names and indexes in path.',
      },
    },
    'The error of koaws.v1.',
  )
}

/** Returns the schema of the field `type`. */
export const typeField = (type: string): JsonSchema => ({ type: 'string', const: type })

/** How the data of a message travel: the schema, or null without data. */
export interface EnvelopeData {
  readonly schema: JsonSchema | null
  readonly optional: boolean
}

const dataField = ({ schema, optional }: EnvelopeData): Record<string, JsonSchema> =>
  schema === null ? {} : { [optional ? 'data?' : 'data']: schema }

/** The items of a request. */
export interface RequestStreams {
  /** Whether the server sends items. */
  readonly stream: boolean
  /** Whether the client sends items. */
  readonly upload: boolean
}

/** Returns the envelope of a client's message: a request if it has an `id`, or items. */
export function clientMessage(
  type: string,
  data: EnvelopeData,
  { stream, upload }: RequestStreams,
): JsonSchema {
  return object({
    type: typeField(type),
    [stream || upload ? 'id' : 'id?']: SHARED.id,
    ...(stream && {
      credit: { ...CREDIT, description: 'How many bytes of items the server may send for now.' },
      'since?': { ...COUNT, description: 'The items received of a stream that is resumed.' },
    }),
    ...(upload && { upload: { type: 'boolean', const: true } }),
    'key?': {
      type: 'string',
      pattern: '^[A-Za-z0-9_-]{16,64}$',
      description: 'Identifies a request that may be sent again after a reconnect.',
    },
    'again?': { type: 'boolean', description: 'Whether the request was sent before.' },
    ...dataField(data),
  })
}

/**
 * Returns the envelope of a message that the server sends.
 *
 * @param answered whether the server may ask for an answer, with an `id`
 * @param history whether the message may come from the history of a room
 */
export function serverMessage(
  type: string,
  data: EnvelopeData,
  answered: boolean,
  history: boolean,
): JsonSchema {
  return object({
    type: typeField(type),
    ...(answered && { 'id?': SHARED.id }),
    ...dataField(data),
    ...(history && {
      'room?': { type: 'string', description: 'The room with history that the message is from.' },
      'position?': POSITION,
      'once?': {
        type: 'string',
        maxLength: 255,
        description: 'Identifies a message to several rooms.',
      },
    }),
  })
}

/** Returns the envelope of a reply. */
export function replyMessage(data: JsonSchema): JsonSchema {
  return object({ type: typeField('koaws:reply'), id: SHARED.id, data })
}

/** A message of the protocol itself. */
export interface OwnMessage {
  readonly type: string
  /** The name of its operation, if another operation has the type. */
  readonly name?: string
  readonly action: 'send' | 'receive'
  readonly summary: string
  readonly payload: JsonSchema
  /** The data of the answer. */
  readonly reply?: JsonSchema
}

/** Which parts of the protocol the application uses. */
export interface Features {
  /** The token may be the first message. */
  readonly authenticate: boolean
  readonly refresh: boolean
  readonly history: boolean
  readonly presence: boolean
}

/** Returns the envelope of an error: an answer, or a report without an id. */
export function errorMessage(): JsonSchema {
  return object({
    type: typeField('koaws:error'),
    'id?': SHARED.id,
    'about?': { type: 'string', description: 'The type of the failed message, without an id.' },
    error: SHARED.error,
  })
}

/** Returns the messages of the protocol itself, except replies and errors. */
export function ownMessages(features: Features): OwnMessage[] {
  const send = (type: string, summary: string, data: JsonSchema): OwnMessage => ({
    type,
    action: 'send',
    summary,
    payload: object({ type: typeField(type), data }),
  })
  const found = [
    send('koaws:welcome', 'Opens the connection for messages of the application.', WELCOME),
    send('koaws:bye', 'The server is about to close the connection.', BYE),
    send('koaws:incoming', 'The next message is large.', object({ bytes: COUNT })),
    send(
      'koaws:resync',
      'A message from another instance was lost: load the current state.',
      object({ room: { type: ['string', 'null'] } }),
    ),
    PING,
  ]
  if (features.authenticate) {
    const data = object({ timeout: { ...COUNT, description: 'Milliseconds.' } })
    found.push(send('koaws:authenticate', 'Asks for a token.', data))
  }
  if (features.authenticate || features.refresh) found.push(AUTH)
  if (features.presence)
    found.push(send('koaws:presence', 'The people in a room, or a change.', PRESENCE))
  if (features.history) found.push(RESUME, ...historyMessages(send))
  return found
}

const WELCOME = object({
  version: { type: 'integer', const: 1 },
  connection: TEXT,
  user: { type: ['string', 'null'] },
  heartbeat: { type: ['integer', 'null'], description: 'Milliseconds between pings.' },
  maxMessage: { ...COUNT, description: 'The largest message for the server, in bytes of UTF-8.' },
  maxDepth: COUNT,
  expiresAt: TIME,
  refresh: { type: 'boolean', description: 'Whether koaws:auth is accepted from now on.' },
  'retry?': {
    type: ['integer', 'null'],
    description: 'How long a request that is sent again is recognized, in milliseconds.',
  },
})

const BYE = object({
  code: COUNT,
  reason: TEXT,
  'after?': { ...COUNT, description: 'Milliseconds until the client reconnects.' },
})

const PING: OwnMessage = {
  type: 'koaws:ping',
  action: 'receive',
  summary: 'Checks the connection.',
  payload: object({ type: typeField('koaws:ping'), id: SHARED.id }),
  reply: { type: 'null' },
}

const AUTH: OwnMessage = {
  type: 'koaws:auth',
  action: 'receive',
  summary: 'Presents a token.',
  payload: object({
    type: typeField('koaws:auth'),
    id: SHARED.id,
    data: object({ token: TEXT }),
  }),
  reply: object({ expiresAt: TIME }),
}

const PERSON = object({ key: TEXT, connections: COUNT, 'info?': {} })

const PRESENCE = object({
  room: TEXT,
  version: COUNT,
  count: COUNT,
  'members?': { type: ['array', 'null'], items: PERSON },
  'set?': { type: 'array', items: PERSON },
  'left?': { type: 'array', items: TEXT },
})

const RESUME: OwnMessage = {
  type: 'koaws:resume',
  action: 'receive',
  summary: 'Presents the positions of a client that offered koaws.resume: its first message.',
  payload: object({
    type: typeField('koaws:resume'),
    data: object({
      'previous?': { type: 'array', maxItems: 8, items: TEXT },
      'positions?': { type: 'object', maxProperties: 128, additionalProperties: POSITION },
    }),
  }),
}

function historyMessages(
  send: (type: string, summary: string, data: JsonSchema) => OwnMessage,
): OwnMessage[] {
  const place = { room: TEXT, position: POSITION }
  return [
    send('koaws:position', 'The place in a room from which messages follow.', object(place)),
    send(
      'koaws:recovered',
      'Whether the missed messages of a room follow.',
      object({
        room: TEXT,
        recovered: { type: 'boolean' },
        missed: { type: ['integer', 'null'] },
        'reason?': TEXT,
        position: POSITION,
      }),
    ),
    send('koaws:at', 'Moves the position without a message.', object(place)),
    send('koaws:left', 'The connection left a room.', object({ room: TEXT })),
  ]
}
