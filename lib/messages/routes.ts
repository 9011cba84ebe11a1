import compose from 'koa-compose'
import { OptionsError } from '../errors.ts'
import type { ProtocolDefinition, ProtocolEntry } from '../protocol/definition.ts'
import type { StandardSchema } from '../protocol/standard-schema.ts'
import type { Message } from './message.ts'

/** Any message, where nothing depends on its types. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyMessage = Message<any, any, any, any>
type Handle = (message: AnyMessage) => unknown
type MessageMiddleware = (message: AnyMessage, next: () => Promise<unknown>) => unknown

/** How messages of one type are handled. */
export interface Route {
  readonly schema: StandardSchema | undefined
  readonly reply: StandardSchema | undefined
  readonly handler: Handle
  /** Middleware and handler; null without middleware. */
  readonly chain: ((message: AnyMessage) => Promise<unknown>) | null
}

/** Returned in place of a value by middleware that ended before the handler. */
export const UNREACHED: unique symbol = Symbol('koaws.unreached')

/** The handlers of `messages()`, each with its schemas, and the middleware around them. */
export class Routes {
  readonly #definition: ProtocolDefinition | null
  readonly #handlers = new Map<string, { handler: Handle; schema: StandardSchema | undefined }>()
  readonly #middleware: MessageMiddleware[] = []
  /** Composed when the first connection is served. */
  #routes: Map<string, Route> | null = null

  /** @param definition null where any type may be handled */
  constructor(definition: ProtocolDefinition | null) {
    this.#definition = definition
  }

  get definition(): ProtocolDefinition {
    return this.#definition ?? {}
  }

  use(middleware: unknown): void {
    this.assertOpen('use')
    if (typeof middleware !== 'function') {
      throw new OptionsError('messages().use() takes middleware: async (message, next) => { ... }')
    }
    this.#middleware.push(guarded(middleware as MessageMiddleware))
  }

  add(type: string, handler: unknown, schema: StandardSchema | undefined): void {
    this.assertOpen('on')
    if (typeof handler !== 'function') {
      throw new OptionsError(`messages().on("${type}") needs a handler: (message) => { ... }`)
    }
    if (this.#definition) this.#assertKnown(type, schema)
    if (this.#handlers.has(type)) {
      throw new OptionsError(`messages().on("${type}"): this type has a handler already.`)
    }
    this.#handlers.set(type, { handler: handler as Handle, schema })
  }

  /** How a type is handled; undefined for one that is not. */
  find(type: string): Route | undefined {
    return this.#routes?.get(type)
  }

  /** A connection is served: from now on nothing can be added. */
  seal(): void {
    this.#routes ??= this.#compose()
  }

  /** The schema of what the server sends with a type; undefined where anything goes. */
  entry(type: string): ProtocolEntry | undefined {
    const { definition } = this
    return Object.hasOwn(definition, type) ? definition[type] : undefined
  }

  /** Whether any type may be sent and handled. */
  get isOpen(): boolean {
    return this.#definition === null
  }

  #compose(): Map<string, Route> {
    const routes = new Map<string, Route>()
    for (const [type, { handler, schema }] of this.#handlers) {
      const entry = this.entry(type)
      const none = entry && !entry.data ? NO_DATA : undefined
      routes.set(type, {
        schema: schema ?? entry?.data ?? none,
        reply: entry?.reply,
        handler,
        chain: this.#middleware.length > 0 ? around(this.#middleware, handler) : null,
      })
    }
    return routes
  }

  /** @throws OptionsError once a connection was served */
  assertOpen(method: string): void {
    if (this.#routes === null) return
    throw new OptionsError(
      `messages().${method}() came too late: a connection was served already. Add everything when the app is built.`,
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
        `messages().on("${type}"): the protocol says that the server sends this type ("push").`,
      )
    }
    if (schema) {
      throw new OptionsError(
        `messages().on("${type}"): the protocol has the schema of this type; leave it out here.`,
      )
    }
  }
}

/** A type whose entry has no `data`: nothing of what a client sends with it reaches the handler. */
const NO_DATA: StandardSchema = {
  '~standard': { version: 1, vendor: 'koaws', validate: () => ({ value: undefined }) },
}

/** What came of the handler below the middleware. */
interface Reached {
  value: unknown
  running: Promise<unknown> | null
  /** The handler has returned, or failed. */
  done: boolean
}

/** Koa's own composition. What the handler returned counts, whatever middleware around it returns. */
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
    // Middleware that did not wait for next(): what comes of the handler counts all the same.
    if (!reached.done) await reached.running
    return reached.value
  }
}

async function run(handler: Handle, message: AnyMessage, reached: Reached): Promise<unknown> {
  try {
    reached.value = undefined
    reached.value = await handler(message)
    return reached.value
  } finally {
    reached.done = true
  }
}

/** A promise of next() that nobody waits for does not end the process when it rejects. */
function guarded(middleware: MessageMiddleware): MessageMiddleware {
  return (message, next) =>
    middleware(message, () => {
      const rest = next()
      rest.catch(ignore)
      return rest
    })
}

function ignore(): void {}
