// `protocol()`: the message types of an application, and the TypeScript types derived from them.
import { fieldsOf } from '../fields.ts'
import type {
  Arriving,
  ArrivingElement,
  Serializable,
  Serialized,
  SerializedElement,
} from './serialized.ts'
import type { SchemaInput, SchemaOutput, StandardSchema } from './standard-schema.ts'

/**
 * One message type. `data`: sent by the client. `push`: sent by the server, `true` for a push
 * without data. `reply`: the answer; without it, any answer is accepted. `stream` and `upload`: the items
 * that server and client send before the answer.
 */
export interface ProtocolEntry {
  /** The data of a message that clients send. */
  readonly data?: StandardSchema | undefined
  /** The data of a message that the server sends; `true` without data. */
  readonly push?: StandardSchema | true | undefined
  /** The answer. Beside `push`, the client answers. */
  readonly reply?: StandardSchema | undefined
  /** The items that the server sends before the answer. */
  readonly stream?: StandardSchema | undefined
  /** The items that the client sends before the answer. */
  readonly upload?: StandardSchema | undefined
}

/** The message types of a protocol, by name. */
export type ProtocolDefinition = Readonly<Record<string, ProtocolEntry>>

/** The result of `protocol()`, shared by server and client. */
export interface Protocol<D extends ProtocolDefinition = ProtocolDefinition> {
  /** The definition that `protocol()` got. */
  readonly types: D
}

/**
 * The definition of a protocol, or of `messages()`. Wherever koaws takes a definition as a type
 * parameter, it also takes `typeof chatProtocol` or `typeof chat`.
 */
export type DefinitionOf<P> = P extends { readonly types: infer D extends ProtocolDefinition }
  ? D
  : P extends ProtocolDefinition
    ? P
    : ProtocolDefinition

/** A protocol or its definition, as accepted by type parameters. */
export type AnyProtocol = ProtocolDefinition | { readonly types: ProtocolDefinition }

/** The entry of a type, or never for an unknown type. */
type Entry<P, T> = DefinitionOf<P> extends infer D ? (T extends keyof D ? D[T] : never) : never

/** The schema in a part of an entry, or undefined. */
type Schema<P, T, Part extends keyof ProtocolEntry> =
  Entry<P, T> extends { readonly [K in Part]: infer S } ? S : undefined

/** A part in JSON form; unknown without a schema. */
type Wire<P, T, Part extends keyof ProtocolEntry> =
  Schema<P, T, Part> extends StandardSchema
    ? SerializedElement<SchemaInput<Schema<P, T, Part>>>
    : unknown

/** A part as a client gives it: the input of the schema, if it survives JSON; unknown without a schema. */
type Sent<P, T, Part extends keyof ProtocolEntry> =
  Schema<P, T, Part> extends StandardSchema
    ? ArrivingElement<SchemaInput<Schema<P, T, Part>>>
    : unknown

/** A part as the server receives it: the output of the schema; unknown without a schema. */
type Checked<P, T, Part extends keyof ProtocolEntry> =
  Schema<P, T, Part> extends StandardSchema ? SchemaOutput<Schema<P, T, Part>> : unknown

/** Whether the message types are unknown, so that any string is accepted. */
type IsOpen<P> = string extends keyof DefinitionOf<P> ? true : false

type TypesWith<D, Parts> = {
  [T in keyof D]: D[T] extends Parts ? T : never
}[keyof D] &
  string

/** The types that a client sends; any string without a protocol. */
export type ClientType<P> =
  IsOpen<P> extends true
    ? string
    : Exclude<
        keyof DefinitionOf<P> & string,
        TypesWith<DefinitionOf<P>, { readonly push: unknown }>
      >

/** The types that a server sends; any string without a protocol. */
export type ServerType<P> =
  IsOpen<P> extends true ? string : TypesWith<DefinitionOf<P>, { readonly push: unknown }>

/** The types that a server sends and a client answers. */
export type ServerRequestType<P> =
  IsOpen<P> extends true
    ? string
    : TypesWith<DefinitionOf<P>, { readonly push: unknown; readonly reply: unknown }>

/** The data that a client passes with a message: the input of the schema, if it survives JSON. */
export type ClientData<P, T> =
  IsOpen<P> extends true ? unknown : Arriving<SchemaInput<Schema<P, T, 'data'>>>

/** The same data on the wire, before the schema runs. */
export type WireData<P, T> =
  IsOpen<P> extends true ? unknown : Serialized<SchemaInput<Schema<P, T, 'data'>>>

/** The data that a handler receives: the output of the schema. */
export type ReceivedData<P, T> =
  IsOpen<P> extends true ? unknown : SchemaOutput<Schema<P, T, 'data'>>

/** The data that a server passes with a push. They are sent unchanged: the schema is not run. */
export type PushGiven<P, T> =
  IsOpen<P> extends true ? unknown : Serializable<SchemaInput<Schema<P, T, 'push'>>>

/**
 * The data of a push as a client's listener receives them: in JSON form, since a client has no
 * schemas.
 */
export type PushData<P, T> =
  IsOpen<P> extends true ? unknown : Serialized<SchemaInput<Schema<P, T, 'push'>>>

/** The reply that a server's handler returns. */
export type ReplyGiven<P, T> =
  Schema<P, T, 'reply'> extends StandardSchema
    ? Serializable<SchemaInput<Schema<P, T, 'reply'>>>
    : unknown

/** The reply as the client receives it: in JSON form, since a client has no schemas. */
export type ReplyTaken<P, T> = Wire<P, T, 'reply'>

/** The answer that a client's listener returns: the input of the schema, if it survives JSON. */
export type AnswerGiven<P, T> = Sent<P, T, 'reply'>

/** The answer as the server receives it: the output of the schema. */
export type ReplyChecked<P, T> = Checked<P, T, 'reply'>

/** The types that have a stream of items before the answer; any string without a protocol. */
export type StreamType<P> =
  IsOpen<P> extends true
    ? string
    : TypesWith<DefinitionOf<P>, { readonly stream: StandardSchema }> & ClientType<P>

/** The types for which the client sends items; any string without a protocol. */
export type UploadType<P> =
  IsOpen<P> extends true
    ? string
    : TypesWith<DefinitionOf<P>, { readonly upload: StandardSchema }> & ClientType<P>

/**
 * An item that a server's handler yields; never for a type without a stream. It is sent unchanged: the
 * schema is not run.
 */
export type StreamGiven<P, T> =
  Schema<P, T, 'stream'> extends StandardSchema
    ? Serializable<SchemaInput<Schema<P, T, 'stream'>>>
    : never

/** An item as the client receives it: in JSON form, since a client has no schemas. */
export type StreamItem<P, T> = Wire<P, T, 'stream'>

/** An item that a client sends: the input of the schema, if it survives JSON. */
export type UploadGiven<P, T> = Sent<P, T, 'upload'>

/** The same item on the wire, before the schema runs. */
export type UploadWire<P, T> = Wire<P, T, 'upload'>

/** An item that the server's handler receives: the output of the schema. */
export type UploadItem<P, T> = Checked<P, T, 'upload'>

/** The arguments after a type: `data` is optional when undefined is allowed. */
export type DataArguments<Data> = unknown extends Data
  ? [data?: unknown]
  : undefined extends Data
    ? [data?: Data]
    : [data: Data]

/** The arguments after a type: data, then options. */
export type DataAndOptions<Data, Options> = undefined extends Data
  ? [data?: Data, options?: Options]
  : [data: Data, options?: Options]

/** The prefix of the protocol's own message types. */
export const RESERVED = 'koaws:'

/** The prefix of the error codes of koaws. */
export const RESERVED_CODE = 'ERR_KOAWS_'

const PARTS = new Set(['data', 'push', 'reply', 'stream', 'upload'])

/**
 * Defines the messages that a server and its clients exchange over `koaws.v1`, one entry per type.
 * A schema comes from any library that follows Standard Schema. Pass the result to `messages()`,
 * and its type to `connect<typeof chat>()`.
 *
 * @example
 * ```js
 * import { protocol } from 'koaws'
 * import { z } from 'zod'
 *
 * export const chat = protocol({
 *   say: { data: z.object({ text: z.string() }), reply: z.object({ ok: z.boolean() }) },
 *   said: { push: z.object({ text: z.string() }) },
 *   confirm: { push: z.string(), reply: z.boolean() }, // the server asks, the client answers
 *   typing: {}, // no data
 *   ask: { data: z.string(), stream: z.string(), reply: z.number() }, // the server sends items, then the answer
 * })
 * console.log(Object.keys(chat.types)) // [ 'say', 'said', 'confirm', 'typing', 'ask' ]
 * ```
 *
 * @param definition the entries by type: what is sent, in which direction, and the answer
 * @returns the protocol, frozen
 * @throws TypeError for a name that is not a string of 1 to 255 bytes or begins with `koaws:`
 * @throws TypeError for an entry with `push` beside `data`, `stream` or `upload`, or with an unknown part
 * @throws TypeError for a part that is not a schema
 */
export function protocol<const D extends ProtocolDefinition>(definition: D): Protocol<D> {
  if (typeof definition !== 'object' || definition === null || Array.isArray(definition)) {
    throw new TypeError(
      'protocol() takes an object with an entry for each type, such as { say: { data: schema } }.',
    )
  }
  if (isSchema(definition)) {
    throw new TypeError(
      'protocol() takes an object with an entry for each type, such as { say: { data: schema } }, not a schema.',
    )
  }
  for (const [type, entry] of Object.entries(definition)) {
    const problem = typeProblem(type) ?? entryProblem(entry)
    if (problem) throw new TypeError(`protocol(): the type ${JSON.stringify(type)} ${problem}.`)
  }
  return Object.freeze({ types: Object.freeze({ ...definition }) })
}

/** Returns the problem of a type name, as the end of a sentence, or null. */
export function typeProblem(type: unknown): string | null {
  if (typeof type !== 'string') return 'is not a string'
  if (type === '') return 'is empty'
  if (type.length > 255 || (type.length > 85 && new TextEncoder().encode(type).length > 255))
    return 'is longer than 255 bytes'
  if (!type.isWellFormed()) return 'has a lone surrogate'
  if (type.startsWith(RESERVED)) return `begins with "${RESERVED}", which is reserved for koaws.v1`
  return null
}

function entryProblem(entry: unknown): string | null {
  if (!isSchema(entry) && (typeof entry !== 'object' || entry === null))
    return 'needs an object, such as { data: schema } or {}'
  if (isSchema(entry))
    return 'has a schema in place of its parts: { data: schema } for what clients send, { push: schema } for what the server sends'
  for (const [name, part] of Object.entries(entry)) {
    if (!PARTS.has(name))
      return `has an unknown part "${name}": the parts are data, push, reply, stream and upload`
    if (part === undefined || (name === 'push' && part === true)) continue
    if (!isSchema(part)) return `needs a Standard Schema as "${name}"`
  }
  const { data, push, stream, upload } = entry as ProtocolEntry
  if (push && (stream || upload))
    return 'has "push" beside "stream" or "upload": only requests of the client have streams'
  return data && push ? 'has both "data" and "push": a type goes one way' : null
}

/** Returns whether a value is a Standard Schema; in some libraries, schemas are functions. */
export function isSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const standard = fieldsOf(value)['~standard']
  return typeof fieldsOf(standard)['validate'] === 'function'
}
