import type { Context } from 'koa'
import type { PushCheck } from '../connection/checked-audience.ts'
import { type Connection, internals } from '../connection/connection.ts'
import type { CloseInfo } from '../connection/types.ts'
import { toError } from '../errors.ts'
import { isThenable } from '../thenable.ts'
import type { MessagesOptions } from './options.ts'
import type { Route, Routes } from './routes.ts'
import { checkOutgoing } from './schema.ts'

export type OpenHook = (connection: Connection, ctx: Context) => unknown
export type CloseHook = (connection: Connection, info: CloseInfo) => unknown

/** What all conversations of one `messages()` share. */
export class Service {
  readonly routes: Routes
  readonly concurrency: number
  readonly maxMessage: number
  readonly maxOffences: number
  /** Looks at what is pushed; null where nobody wants that. */
  readonly check: PushCheck | null
  readonly onOpen: OpenHook[] = []
  readonly onClose: CloseHook[] = []
  readonly #validatesOut: boolean

  constructor(routes: Routes, options: Required<MessagesOptions>) {
    this.routes = routes
    this.concurrency = options.concurrency as number
    this.maxMessage = options.maxMessage as number
    this.maxOffences = options.maxOffences as number
    this.#validatesOut = options.validateOut === true
    this.check = this.#validatesOut && !routes.isOpen ? checkAgainst(routes) : null
  }

  /** @throws what keeps a value from being a reply of a route */
  checkReply({ reply }: Route, value: unknown): void {
    if (this.#validatesOut && reply) checkReply(reply, value)
  }

  /** A connection is served: nothing can be added any more. */
  seal(): void {
    this.routes.seal()
  }

  /** A connection is open: the hooks run one after the other. Null when they are done at once. */
  opened(connection: Connection, ctx: Context): Promise<void> | null {
    const { onOpen } = this
    for (let i = 0; i < onOpen.length; i++) {
      try {
        const result = (onOpen[i] as OpenHook)(connection, ctx)
        if (isThenable(result))
          return goOn(Promise.resolve(result), onOpen.slice(i + 1), connection, ctx)
      } catch (error) {
        return Promise.reject(error)
      }
    }
    return null
  }

  /** A connection has ended; the hooks wait for those of its opening. Errors go to the application. */
  closed(connection: Connection, opening: Promise<void> | null): void {
    const { onClose } = this
    if (onClose.length === 0) return
    const owner = internals.ownerOf(connection)
    const told = connection.closed.then(async (info) => {
      await opening
      for (const hook of onClose) {
        try {
          await hook(connection, info)
        } catch (error) {
          owner?.failed(connection, toError(error))
        }
      }
    })
    owner?.awaits(told)
  }
}

async function goOn(
  first: Promise<unknown>,
  rest: readonly OpenHook[],
  connection: Connection,
  ctx: Context,
): Promise<void> {
  await first
  for (const hook of rest) await hook(connection, ctx)
}

/** Throws for a push that the protocol does not have, or whose data do not fit. */
function checkAgainst(routes: Routes): PushCheck {
  return (type, data) => {
    const push = routes.entry(type)?.push
    if (!push) throw new TypeError(`The protocol has no push ${JSON.stringify(type)}.`)
    if (push !== true) checkOutgoing(push, data)
    else if (data !== undefined) {
      throw new TypeError(`The protocol has no data for the push ${JSON.stringify(type)}.`)
    }
  }
}

/** A handler that returns nothing replies null: either may be what the schema means. */
function checkReply(schema: NonNullable<Route['reply']>, value: unknown): void {
  try {
    checkOutgoing(schema, value)
  } catch (error) {
    if (value !== undefined) throw error
    checkOutgoing(schema, null)
  }
}
