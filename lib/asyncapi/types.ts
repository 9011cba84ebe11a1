// The types of AsyncAPI documents and of the options of `asyncapi()`.
import type { StandardSchema } from '../index.ts'

/** A JSON Schema (draft 7): `true` allows every value, `false` none. */
export type JsonSchema = boolean | JsonSchemaObject

/** A JSON Schema with keywords. */
export interface JsonSchemaObject {
  readonly [keyword: string]: unknown
}

/** A reference to another part of the document. */
export interface AsyncApiReference {
  /** A JSON pointer into the document, as a URI fragment. */
  readonly $ref: string
}

/** The Info Object of AsyncAPI: what the document is about. */
export interface AsyncApiInfo {
  /** The name of the API. */
  readonly title: string
  /** The version of the API, not that of AsyncAPI. */
  readonly version: string
  /** Other fields of the Info Object, such as `description`, `contact` and `license`. */
  readonly [field: string]: unknown
}

/** The Server Object of AsyncAPI. */
export interface AsyncApiServer {
  /** The host, with the port if it is not the default one. */
  readonly host: string
  /** `ws` or `wss`. */
  readonly protocol: string
  /** A path in front of all addresses. */
  readonly pathname?: string
  /** Other fields of the Server Object, such as `description` and `variables`. */
  readonly [field: string]: unknown
}

/** A parameter of the path. */
export interface AsyncApiParameter {
  /** What the parameter selects. */
  readonly description?: string
  /** The allowed values. */
  readonly enum?: readonly string[]
  /** The value if the client has none. */
  readonly default?: string
  /** Examples of values. */
  readonly examples?: readonly string[]
}

/**
 * How a client authenticates. `header`: `Authorization: Bearer`. `cookie` and `query`: a cookie or
 * a query parameter with this `name`. `subprotocol`: the offered subprotocol
 * `koaws.bearer.<token>`. `message`: the token in a `koaws:auth` message, see
 * `docs/protocol.md`, section 5.
 */
export type AsyncApiSecurity =
  | { readonly in: 'cookie' | 'query'; readonly name: string; readonly description?: string }
  | {
      readonly in: 'header' | 'subprotocol' | 'message'
      readonly description?: string
    }

/** The place of a schema in a protocol. */
export interface SchemaPlace {
  /** The message type. */
  readonly type: string
  /** The part of its entry. */
  readonly part: 'data' | 'push' | 'reply' | 'stream' | 'upload'
  /** The side that sends the value. */
  readonly from: 'client' | 'server'
}

/**
 * Returns the JSON Schema of draft 7 for a schema: of what the sender passes, which is its input.
 * Undefined: the schema itself is asked.
 */
export type SchemaConverter = (
  schema: StandardSchema,
  place: SchemaPlace,
) => object | boolean | undefined

/** The options of `asyncapi()`. */
export interface AsyncApiOptions {
  /** The Info Object: `title` and `version` are required. */
  info: AsyncApiInfo
  /**
   * The servers by name: a URL, such as `wss://chat.example.com`, or a Server Object. @default the
   * document names no server
   */
  servers?: Readonly<Record<string, string | AsyncApiServer>> | undefined
  /**
   * The path of the route in the syntax of routers: `:room` becomes the parameter `{room}`.
   * @default '/'
   */
  path?: string | undefined
  /** Descriptions and values of the parameters of `path`, by name. */
  parameters?: Readonly<Record<string, AsyncApiParameter>> | undefined
  /**
   * The ways to authenticate, one of which is enough. Needs `servers`. @default no authentication
   */
  security?: readonly AsyncApiSecurity[] | undefined
  /**
   * Whether clients may send a new token on an open connection, as with the option `refresh` of
   * `accept()`. @default false
   */
  refresh?: boolean | undefined
  /** Whether the document has the messages and fields of room history. @default false */
  history?: boolean | undefined
  /** Whether the document has the messages of presence. @default false */
  presence?: boolean | undefined
  /**
   * Names of operations, by message type, for code generators. @default the message type; each run
   * of characters other than `A-Z a-z 0-9 _` becomes a `_`
   */
  ids?: Readonly<Record<string, string>> | undefined
  /**
   * Converts a schema to a JSON Schema of draft 7, of what the sender passes (the input of the
   * schema). Undefined: the schema itself is asked. @default each schema is asked through
   * Standard JSON Schema, as zod 4.2 and arktype 2.1.28 and later offer it
   */
  toJsonSchema?: SchemaConverter | undefined
  /**
   * What happens with a schema that cannot be expressed as a JSON Schema: `throw` an error, or
   * `any` documents it as any value. @default 'throw'
   */
  unrepresentable?: 'throw' | 'any' | undefined
  /**
   * Whether the defaults of schemas are shown. They are values of the server, which may be
   * secret. @default false
   */
  defaults?: boolean | undefined
  /**
   * The side that the operations describe. With `client`, `send` is what clients send: generators
   * of clients need that. @default 'server'
   */
  view?: 'server' | 'client' | undefined
}

/** The Operation Object of AsyncAPI: a message that the server receives or sends. */
export interface AsyncApiOperation {
  /** `receive`: clients send it. `send`: the server sends it. The other way round in the view `client`. */
  readonly action: 'receive' | 'send'
  /** The channel. */
  readonly channel: AsyncApiReference
  /** The message, and the items of an upload after it. */
  readonly messages: readonly AsyncApiReference[]
  /** The answer: the items of a stream, and then the reply, or the error in place of it. */
  readonly reply?: {
    readonly channel: AsyncApiReference
    readonly messages: readonly AsyncApiReference[]
  }
  /** Other fields of the Operation Object, such as `summary`. */
  readonly [field: string]: unknown
}

/** The Message Object of AsyncAPI. */
export interface AsyncApiMessage {
  /** The type of the message, the field `type` of the envelope. */
  readonly name: string
  /** The envelope with its data. */
  readonly payload: JsonSchema
  /** Other fields of the Message Object, such as `summary`. */
  readonly [field: string]: unknown
}

/** The Channel Object of AsyncAPI: the route. */
export interface AsyncApiChannel {
  /** The path, with parameters in braces. */
  readonly address: string
  /** All messages that travel on the connection. */
  readonly messages: Readonly<Record<string, AsyncApiReference>>
  /** Other fields of the Channel Object, such as `parameters` and `bindings`. */
  readonly [field: string]: unknown
}

/** An AsyncAPI document, as `asyncapi()` returns it: plain JSON. */
export interface AsyncApiDocument {
  /** The version of AsyncAPI. */
  readonly asyncapi: string
  /** What the document is about. */
  readonly info: AsyncApiInfo
  /** `application/json`. */
  readonly defaultContentType: string
  /** The servers by name, with the ways to authenticate. */
  readonly servers?: Readonly<Record<string, AsyncApiServer>>
  /** The route, as `connection`. */
  readonly channels: Readonly<Record<string, AsyncApiChannel>>
  /** The types, by their names in `ids`. */
  readonly operations: Readonly<Record<string, AsyncApiOperation>>
  /** The messages and schemas that the other parts refer to. */
  readonly components: {
    readonly messages: Readonly<Record<string, AsyncApiMessage>>
    readonly schemas: Readonly<Record<string, JsonSchema>>
    readonly correlationIds: Readonly<Record<string, object>>
    readonly securitySchemes?: Readonly<Record<string, object>>
  }
}
