import type { SchemaInput, SchemaOutput, StandardSchema } from './standard-schema.ts'

/**
 * One type of message. `data`: from the client. `push`: from the server, `true` where there are no
 * data. `reply`: what the answer holds; where it is not set, any answer goes.
 */
export interface ProtocolEntry {
  readonly data?: StandardSchema | undefined
  readonly push?: StandardSchema | true | undefined
  readonly reply?: StandardSchema | undefined
}

/** The types of messages of a protocol, by name. */
export type ProtocolDefinition = Readonly<Record<string, ProtocolEntry>>

/** What `protocol()` makes: shared by server and client. */
export interface Protocol<D extends ProtocolDefinition = ProtocolDefinition> {
  readonly types: D
}

/** The definition behind a protocol, or behind `messages()`: what `connect<typeof chat>` is given. */
export type DefinitionOf<P> = P extends { readonly types: infer D extends ProtocolDefinition }
  ? D
  : P extends ProtocolDefinition
    ? P
    : ProtocolDefinition

/** Types that a client sends. Any string, where no protocol says which there are. */
export type ClientType<D> = string extends keyof D
  ? string
  : { [T in keyof D]: D[T] extends { readonly push: unknown } ? never : T }[keyof D] & string

/** Types that a server sends. */
export type ServerType<D> = string extends keyof D
  ? string
  : { [T in keyof D]: D[T] extends { readonly push: unknown } ? T : never }[keyof D] & string

/** Types that a server sends and that are answered. */
export type ServerRequestType<D> = string extends keyof D
  ? string
  : {
      [T in keyof D]: D[T] extends { readonly push: unknown; readonly reply: unknown } ? T : never
    }[keyof D] &
      string

type DataSchema<D, T> = T extends keyof D
  ? D[T] extends { readonly data: infer S }
    ? S
    : undefined
  : undefined
type PushSchema<D, T> = T extends keyof D
  ? D[T] extends { readonly push: infer S }
    ? S
    : undefined
  : undefined
type ReplySchema<D, T> = T extends keyof D
  ? D[T] extends { readonly reply: infer S }
    ? S
    : unknown
  : unknown

/** What a client gives with a message. */
export type ClientData<D, T> = string extends keyof D ? unknown : SchemaInput<DataSchema<D, T>>

/** What a handler gets of it: what the schema made. */
export type ReceivedData<D, T> = string extends keyof D ? unknown : SchemaOutput<DataSchema<D, T>>

/** What a server gives with a push, and what the listener of a client gets. */
export type PushData<D, T> = string extends keyof D ? unknown : SchemaInput<PushSchema<D, T>>

/** What whoever answers has to give. */
export type ReplyGiven<D, T> = string extends keyof D
  ? unknown
  : ReplySchema<D, T> extends StandardSchema
    ? SchemaInput<ReplySchema<D, T>>
    : unknown

/** What a client gets that asked: what is on the wire, for a client has no schemas. */
export type ReplyTaken<D, T> = ReplyGiven<D, T>

/** What a server gets that asked: what the schema made of the answer. */
export type ReplyChecked<D, T> = string extends keyof D
  ? unknown
  : ReplySchema<D, T> extends StandardSchema
    ? SchemaOutput<ReplySchema<D, T>>
    : unknown

/** The rest of the arguments after a type: data may be left out where there are none. */
export type DataArguments<Data> = unknown extends Data
  ? [data?: unknown]
  : undefined extends Data
    ? [data?: Data]
    : [data: Data]

/** The arguments after a type, with options behind the data. */
export type DataAndOptions<Data, Options> = undefined extends Data
  ? [data?: Data, options?: Options]
  : [data: Data, options?: Options]

/** Types that begin so are the protocol's own. */
export const RESERVED = 'koaws:'

/** Error codes that begin so are koaws' own. */
export const RESERVED_CODE = 'ERR_KOAWS_'

const PARTS = new Set(['data', 'push', 'reply'])

/**
 * The messages that a server and its clients exchange over `koaws.v1`, one entry for each type:
 *
 * ```ts
 * export const chat = protocol({
 *   say: { data: z.object({ text: z.string() }), reply: z.object({ ok: z.boolean() }) },
 *   said: { push: z.object({ text: z.string() }) },
 *   confirm: { push: z.string(), reply: z.boolean() }, // asked by the server
 *   typing: {}, // no data
 * })
 * ```
 *
 * A schema is one of any library that follows Standard Schema. Give it to `messages()`, and its type
 * to `connect<typeof chat>()`.
 *
 * @throws TypeError for a name that is no string of 1 to 255 bytes or begins with `koaws:`, for an
 * entry with other parts than `data`, `push` and `reply` or with both of the first, and for a part that is no schema
 */
export function protocol<const D extends ProtocolDefinition>(definition: D): Protocol<D> {
  for (const [type, entry] of Object.entries(definition)) {
    const problem = typeProblem(type) ?? entryProblem(entry)
    if (problem) throw new TypeError(`protocol(): the type ${JSON.stringify(type)} ${problem}.`)
  }
  return Object.freeze({ types: Object.freeze({ ...definition }) })
}

/** What is wrong with the name of a type of an application, as the end of a sentence, or null. */
export function typeProblem(type: unknown): string | null {
  if (typeof type !== 'string') return 'is no string'
  if (type === '') return 'is empty'
  if (type.length > 255 || (type.length > 85 && new TextEncoder().encode(type).length > 255))
    return 'is longer than 255 bytes'
  if (type.startsWith(RESERVED)) return `begins with "${RESERVED}", which is the protocol's own`
  return null
}

function entryProblem(entry: unknown): string | null {
  if (typeof entry !== 'object' || entry === null)
    return 'needs an object, such as { data: schema } or {}'
  for (const [name, part] of Object.entries(entry)) {
    if (!PARTS.has(name)) return `has a part "${name}"; there are data, push and reply`
    if (part === undefined || (name === 'push' && part === true)) continue
    if (!isSchema(part)) return `needs a Standard Schema as "${name}"`
  }
  const { data, push } = entry as ProtocolEntry
  return data && push ? 'has both "data" and "push": a type goes one way' : null
}

/** Whether something is a Standard Schema; some libraries make functions of theirs. */
export function isSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const standard = (value as Partial<StandardSchema>)['~standard']
  return typeof standard?.validate === 'function'
}
