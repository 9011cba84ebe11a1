// Holds the handlers of `messages()` with their schemas, and composes the middleware around them.

import compose from 'koa-compose'
import { OptionsError } from '../errors.ts'
import type { ProtocolDefinition, ProtocolEntry } from '../protocol/definition.ts'
import type { StandardSchema } from '../protocol/standard-schema.ts'
import { KeptReply } from '../retry/attempt.ts'
import { isStream } from '../streams/iteration.ts'
import { check, describe, validate } from '../validate.ts'
import { attemptOf, type Message, streamedOf } from './message.ts'
import { unasked } from './stream-errors.ts'
import type { StreamedRoute } from './stream-route.ts'

/** Any message, where nothing depends on its types. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyMessage = Message<any, any, any, any, any>
type Handle = (message: AnyMessage) => unknown
type MessageMiddleware = (message: AnyMessage, next: () => Promise<unknown>) => unknown

/** The handler of one type, with its schemas. */
export interface Route extends StreamedRoute {
  readonly schema: StandardSchema | undefined
  readonly reply: StandardSchema | undefined
  readonly handler: Handle
  /** Middleware and handler, composed; null without middleware. */
  readonly chain: ((message: AnyMessage) => Promise<unknown>) | null
}

/** The options of a handler. */
export interface HandlerOptions {
  /**
   * Whether a client can resume the stream of this handler after a reconnect, on any instance, with its
   * own option `resume`. The generator then goes on without the connection, and `message.signal` aborts
   * when the client does not come back within the time of the option `streams`. @default false
   */
  resume?: boolean | undefined
}

interface Registered {
  readonly handler: Handle
  readonly schema: StandardSchema | undefined
  readonly resume: boolean
}

/** The result of a chain in which middleware did not call the handler. */
export const UNREACHED: unique symbol = Symbol('koaws.unreached')

/** The handlers of `messages()`, each with its schemas, and the middleware around them. */
export class Routes {
  readonly #definition: ProtocolDefinition | null
  readonly #handlers = new Map<string, Registered>()
  readonly #middleware: MessageMiddleware[] = []
  /** Composed when the first connection is served. */
  #routes: Map<string, Route> | null = null

  /** @param definition null when any type may be handled */
  constructor(definition: ProtocolDefinition | null) {
    this.#definition = definition
  }

  get definition(): ProtocolDefinition {
    return this.#definition ?? {}
  }

  use(middleware: unknown): void {
    this.assertOpen('use')
    if (typeof middleware !== 'function') {
      throw new OptionsError(
        `messages().use() takes middleware, not ${describe(middleware)}: async (message, next) => { ... }`,
      )
    }
    this.#middleware.push(guarded(middleware as MessageMiddleware))
  }

  add(
    type: string,
    handler: unknown,
    schema: StandardSchema | undefined,
    options: HandlerOptions = {},
  ): void {
    this.assertOpen('on')
    if (typeof handler !== 'function') {
      throw new OptionsError(
        `messages().on("${type}") needs a handler, not ${describe(handler)}: (message) => { ... }`,
      )
    }
    if (this.#definition) this.#assertKnown(type, schema)
    if (this.#handlers.has(type)) {
      throw new OptionsError(`messages().on("${type}"): this type has a handler already.`)
    }
    validate(`messages().on("${type}")`, options, { resume: check.boolean })
    const { resume = false } = options
    this.#handlers.set(type, { handler: once(handler as Handle, resume), schema, resume })
  }

  /** Returns the route of a type; undefined when the type has no handler. */
  find(type: string): Route | undefined {
    return this.#routes?.get(type)
  }

  /** Composes the routes for the first connection. Later additions throw. */
  seal(): void {
    this.#routes ??= this.#compose()
  }

  /** Returns the entry of a type in the protocol; undefined when it has none. */
  entry(type: string): ProtocolEntry | undefined {
    const { definition } = this
    return Object.hasOwn(definition, type) ? definition[type] : undefined
  }

  /** Whether any type may be sent and handled, because there is no protocol. */
  get isOpen(): boolean {
    return this.#definition === null
  }

  #compose(): Map<string, Route> {
    const routes = new Map<string, Route>()
    for (const [type, { handler, schema, resume }] of this.#handlers) {
      const entry = this.entry(type)
      const none = entry && !entry.data ? NO_DATA : undefined
      routes.set(type, {
        type,
        schema: schema ?? entry?.data ?? none,
        reply: entry?.reply,
        stream: entry?.stream,
        upload: entry?.upload,
        resume,
        handler,
        chain: this.#middleware.length > 0 ? around(this.#middleware, handler) : null,
      })
    }
    return routes
  }

  /** @throws OptionsError after the first connection was served */
  assertOpen(method: string): void {
    if (this.#routes === null) return
    throw new OptionsError(
      `messages().${method}() was called after a connection was served. Call it before the server listens.`,
    )
  }

  #assertKnown(type: string, schema: StandardSchema | undefined): void {
    const entry = this.entry(type)
    if (!entry) {
      const known = Object.keys(this.definition).join(', ')
      throw new OptionsError(
        `messages().on("${type}"): the protocol has no such type. It has: ${known}.`,
      )
    }
    if (entry.push) {
      throw new OptionsError(
        `messages().on("${type}"): the server sends this type ("push" in the protocol). Handle a type that clients send.`,
      )
    }
    if (schema) {
      throw new OptionsError(
        `messages().on("${type}"): the protocol has the schema of this type: leave it out here.`,
      )
    }
  }
}

/** The schema of a type without `data`: it discards the data that a client sends. */
const NO_DATA: StandardSchema = {
  '~standard': { version: 1, vendor: 'koaws', validate: () => ({ value: undefined }) },
}

/** Runs a handler; for a request that has run, repeats the answer or resumes the stream. */
function once(handler: Handle, canResume: boolean): Handle {
  return (message) => {
    const streamed = streamedOf(message)
    if (streamed) return streamed.run(() => handler(message), canResume)
    const attempt = attemptOf(message)
    const result = attempt ? attempt.run(() => handler(message)) : handler(message)
    if (isStream(result)) throw unasked(result, message.type)
    return result
  }
}

/** The progress of the handler below the middleware. */
interface Reached {
  value: unknown
  running: Promise<unknown> | null
  /** The handler has returned or thrown. */
  done: boolean
}

/** Composes as in Koa, but the handler's result is always the reply. */
function around(middleware: readonly MessageMiddleware[], handler: Handle): Route['chain'] {
  const chain = compose(middleware as never) as unknown as (
    message: AnyMessage,
    next: () => unknown,
  ) => Promise<unknown>
  return async (message) => {
    const reached: Reached = { value: UNREACHED, running: null, done: false }
    try {
      await chain(message, () => {
        reached.running = run(handler, message, reached)
        return reached.running
      })
    } catch (error) {
      if (!reached.done) await reached.running?.catch(ignore)
      throw error
    }
    // Middleware may not have awaited next(): the handler's result or error still counts.
    if (!reached.done) await reached.running
    return reached.value
  }
}

async function run(handler: Handle, message: AnyMessage, reached: Reached): Promise<unknown> {
  try {
    reached.value = undefined
    reached.value = await handler(message)
    return reached.value instanceof KeptReply ? reached.value.data : reached.value
  } finally {
    reached.done = true
  }
}

/** Prevents an unhandled rejection when middleware does not await next(). */
function guarded(middleware: MessageMiddleware): MessageMiddleware {
  return (message, next) =>
    middleware(message, () => {
      const rest = next()
      rest.catch(ignore)
      return rest
    })
}

function ignore(): void {}
