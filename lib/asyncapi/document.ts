// `asyncapi()`: an AsyncAPI 3 document of a protocol, from the server's point of view.
import { OptionsError, type Protocol, type ProtocolEntry, type StandardSchema } from '../index.ts'
import {
  clientMessage,
  type EnvelopeData,
  errorMessage,
  type OwnMessage,
  ownMessages,
  type RequestStreams,
  replyMessage,
  serverMessage,
  sharedSchemas,
} from './envelope.ts'
import { isFields, member, reference } from './fields.ts'
import { allowsUndefined, jsonSchemaOf, SchemaShelf } from './json-schema.ts'
import { isNever } from './located.ts'
import { identifierFor, Names } from './names.ts'
import { type ResolvedOptions, resolveOptions } from './options.ts'
import { handshakeBinding, securityOf } from './security.ts'
import { ITEM, itemMessage, streamMessages } from './stream-envelopes.ts'
import type {
  AsyncApiDocument,
  AsyncApiMessage,
  AsyncApiOperation,
  AsyncApiOptions,
  AsyncApiReference,
  AsyncApiServer,
  JsonSchema,
  SchemaPlace,
} from './types.ts'

/** The version of AsyncAPI. Its parser reports any older one. */
const VERSION = '3.1.0'

/** The name of the only channel. */
const CHANNEL = 'connection'
/** The names of the answers that have no type of their own. */
const REPLY = 'koaws_reply'
const ERROR = 'koaws_error'

const ANY: JsonSchema = {}

/**
 * Returns an AsyncAPI 3 document of a protocol, as plain JSON. The route is a channel with its
 * handshake. Each type is an operation of the server: `receive` for what clients send, `send` for
 * what the server sends. The document also has the answers, the error codes and the ways to
 * authenticate. The payloads are the messages of `koaws.v1`, as they are on the wire.
 *
 * The schemas of `data` are asked for a JSON Schema of their input, through Standard JSON Schema
 * (zod 4.2, arktype 2.1.28 and later) or the option `toJsonSchema`. Each is also called once with
 * `undefined`, to see whether the data may be left out. Rules that have no JSON Schema, such as
 * `refine()`, are left out.
 *
 * @example
 * ```js
 * import { protocol } from 'koaws'
 * import { asyncapi } from 'koaws/asyncapi'
 * import { z } from 'zod'
 *
 * const chat = protocol({
 *   say: { data: z.object({ text: z.string() }), reply: z.object({ heard: z.int() }) },
 *   said: { push: z.object({ text: z.string() }) },
 * })
 * const document = asyncapi(chat, {
 *   info: { title: 'Chat', version: '1.0.0' },
 *   servers: { production: 'wss://chat.example.com' },
 *   path: '/rooms/:room',
 *   security: [{ in: 'cookie', name: 'sid' }],
 * })
 * console.log(document.channels.connection.address) // /rooms/{room}
 * console.log(document.operations.say.action, document.operations.said.action) // receive send
 * ```
 *
 * @param protocol the result of `protocol()`
 * @param options `info` is required
 * @returns the document
 * @throws OptionsError for an option that is unknown or wrong
 * @throws OptionsError for a schema without a JSON Schema, unless `unrepresentable` is `'any'`
 */
export function asyncapi(protocol: Protocol, options: AsyncApiOptions): AsyncApiDocument {
  const types = member(protocol, 'types')
  if (!isFields(types)) {
    throw new OptionsError('asyncapi() takes the result of protocol() as its first argument.')
  }
  const entries = Object.entries(protocol.types)
  const resolved = resolveOptions(
    options,
    entries.map(([type]) => type),
  )
  const draft = new Draft(resolved)
  draft.addProtocol({
    stream: entries.some(([, { stream }]) => stream !== undefined),
    upload: entries.some(([, { upload }]) => upload !== undefined),
  })
  for (const [type, entry] of entries) draft.add(type, entry)
  return draft.document()
}

/** A document in the making. */
class Draft {
  readonly #options: ResolvedOptions
  readonly #operations: Record<string, AsyncApiOperation> = {}
  readonly #messages: Record<string, AsyncApiMessage> = {}
  readonly #messageNames = new Names()
  readonly #operationNames = new Names()
  readonly #shelf: SchemaShelf

  constructor(options: ResolvedOptions) {
    this.#options = options
    const names = new Names()
    this.#shelf = new SchemaShelf(names, options.defaults)
    for (const [name, schema] of Object.entries(sharedSchemas())) {
      names.reserve(name)
      this.#shelf.schemas[name] = schema
    }
    for (const id of options.ids.values()) this.#operationNames.reserve(id)
  }

  /** Adds the messages of koaws.v1 itself. */
  addProtocol(streams: RequestStreams): void {
    const { refresh, history, presence, security } = this.#options
    const authenticate = security.some((way) => way.in === 'message')
    this.#message(REPLY, 'koaws:reply', 'A reply.', replyMessage(ANY))
    this.#message(
      ERROR,
      'koaws:error',
      'An error in place of a reply, or a report.',
      errorMessage(),
    )
    this.#operationNames.reserve(ERROR)
    this.#operations[ERROR] = {
      action: 'send',
      summary: 'Reports a message without an id that could not be handled.',
      channel: CHANNEL_REFERENCE,
      messages: [messageReference(ERROR)],
    }
    const own = ownMessages({ authenticate, refresh, history, presence })
    for (const one of [...own, ...streamMessages(streams)]) this.#addOwn(one)
  }

  #addOwn(own: OwnMessage): void {
    const { type, action, summary, payload, reply } = own
    const name = own.name ?? type.replace(':', '_')
    this.#operationNames.reserve(name)
    this.#message(name, type, summary, payload)
    if (reply !== undefined)
      this.#message(`${name}.reply`, 'koaws:reply', `The reply to ${type}.`, replyMessage(reply))
    this.#operations[name] = {
      action,
      summary,
      channel: CHANNEL_REFERENCE,
      messages: [messageReference(name)],
      ...(reply !== undefined && answeredWith(`${name}.reply`)),
    }
  }

  /** Adds a type of the application. */
  add(type: string, entry: ProtocolEntry): void {
    const { history, ids } = this.#options
    const id = ids.get(type) ?? this.#operationNames.take(identifierFor(type))
    const push = entry.push !== undefined
    const from = push ? 'server' : 'client'
    const part = push ? 'push' : 'data'
    const data = this.#data(entry[part], id, { type, part, from })
    const answered = !push || entry.reply !== undefined
    const streams = { stream: entry.stream !== undefined, upload: entry.upload !== undefined }
    const payload = push
      ? serverMessage(type, data, answered, history)
      : clientMessage(type, data, streams)
    const summary = push
      ? `The server sends ${quote(type)}${answered ? ', and asks for an answer if it has an id.' : '.'}`
      : `A client sends ${quote(type)}${sequelOf(streams)}`
    const name = this.#message(this.#messageNames.take(id), type, summary, payload)
    this.#operations[id] = {
      action: push ? 'send' : 'receive',
      summary,
      channel: CHANNEL_REFERENCE,
      messages: [name, ...this.#items(type, id, entry.upload, 'upload')].map(messageReference),
      ...(answered &&
        answeredWith(
          ...this.#items(type, id, entry.stream, 'stream'),
          this.#reply(type, id, entry.reply, push ? 'client' : 'server'),
        )),
    }
  }

  /** Adds the items of a type. Returns the name of their message; none without a schema. */
  #items(
    type: string,
    id: string,
    schema: StandardSchema | undefined,
    part: 'stream' | 'upload',
  ): string[] {
    if (schema === undefined) return []
    const from = part === 'stream' ? 'server' : 'client'
    const payload = itemMessage(this.#value(schema, id, { type, part, from }))
    const name = this.#messageNames.take(`${id}.${part}`)
    const summary = `An item of the ${from}, for ${quote(type)}.`
    return [this.#message(name, ITEM, summary, payload)]
  }

  /** Adds the reply to a type, and returns the name of its message. */
  #reply(
    type: string,
    id: string,
    schema: StandardSchema | undefined,
    from: 'client' | 'server',
  ): string {
    if (schema === undefined) return REPLY
    const payload = this.#value(schema, id, { type, part: 'reply', from })
    const name = this.#messageNames.take(`${id}.reply`)
    return this.#message(name, 'koaws:reply', `The reply to ${quote(type)}.`, replyMessage(payload))
  }

  /** Returns the schema of a value that is always present: undefined arrives as null. */
  #value(schema: StandardSchema, id: string, place: SchemaPlace): JsonSchema {
    const { schema: data, optional } = this.#data(schema, id, place)
    const absent: JsonSchema = { type: 'null' }
    if (data === null) return absent
    return optional && place.from === 'server' ? { anyOf: [data, absent] } : data
  }

  #data(schema: StandardSchema | true | undefined, id: string, place: SchemaPlace): EnvelopeData {
    if (schema === undefined || schema === true) return { schema: null, optional: true }
    const found = jsonSchemaOf(schema, place, this.#options)
    const optional = allowsUndefined(schema)
    if (optional && (found === false || (isFields(found) && isNever(found))))
      return { schema: null, optional }
    const where = `asyncapi(): the JSON Schema of "${place.part}" of ${quote(place.type)}`
    return { schema: this.#shelf.add(`${id}.${place.part}`, found, where), optional }
  }

  #message(name: string, type: string, summary: string, payload: JsonSchema): string {
    this.#messageNames.reserve(name)
    const id = member(member(payload, 'properties'), 'id')
    this.#messages[name] = {
      name: type,
      summary,
      contentType: 'application/json',
      ...(id !== undefined && { correlationId: reference('components', 'correlationIds', 'id') }),
      payload,
    }
    return name
  }

  /** Returns the operations from the point of view of the option `view`. */
  #seen(): Record<string, AsyncApiOperation> {
    if (this.#options.view === 'server') return this.#operations
    const opposite = { receive: 'send', send: 'receive' } as const
    return Object.fromEntries(
      Object.entries(this.#operations).map(([name, one]) => [
        name,
        { ...one, action: opposite[one.action] },
      ]),
    )
  }

  document(): AsyncApiDocument {
    const { info, servers, address, parameters, security, history } = this.#options
    const { schemes, references } = securityOf(security)
    const named = Object.entries(servers).map(([name, server]): [string, AsyncApiServer] => [
      name,
      references.length > 0 ? { ...server, security: references } : server,
    ])
    const names = Object.keys(this.#messages)
    return {
      asyncapi: VERSION,
      info,
      defaultContentType: 'application/json',
      ...(named.length > 0 && { servers: Object.fromEntries(named) }),
      channels: {
        [CHANNEL]: {
          address,
          title: 'The WebSocket connection',
          description:
            'One WebSocket with the subprotocol koaws.v1. Every message is a text message with one JSON object.',
          ...(named.length > 0 && {
            servers: named.map(([name]) => reference('servers', name)),
          }),
          ...(Object.keys(parameters).length > 0 && { parameters }),
          messages: Object.fromEntries(
            names.map((name) => [name, reference('components', 'messages', name)]),
          ),
          bindings: { ws: handshakeBinding(security, history) },
        },
      },
      operations: this.#seen(),
      components: {
        messages: this.#messages,
        schemas: this.#shelf.schemas,
        correlationIds: {
          id: { location: '$message.payload#/id', description: 'The id of the request.' },
        },
        ...(references.length > 0 && { securitySchemes: schemes }),
      },
    }
  }
}

const CHANNEL_REFERENCE: AsyncApiReference = reference('channels', CHANNEL)

function messageReference(name: string): AsyncApiReference {
  return reference('channels', CHANNEL, 'messages', name)
}

function answeredWith(...names: readonly string[]): Pick<AsyncApiOperation, 'reply'> {
  return {
    reply: {
      channel: CHANNEL_REFERENCE,
      messages: [...names, ERROR].map(messageReference),
    },
  }
}

/** Returns the end of a sentence about a request. */
function sequelOf({ stream, upload }: RequestStreams): string {
  if (!stream && !upload) return ', and gets an answer if it has an id.'
  return `${upload ? ' and items' : ''}, and gets ${stream ? 'items and then ' : ''}an answer.`
}

function quote(type: string): string {
  return JSON.stringify(type)
}
