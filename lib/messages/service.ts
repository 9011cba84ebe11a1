// Holds what all conversations of one `messages()` share: routes, hooks and checks of sent data.

import type { Context } from 'koa'
import type { PushCheck } from '../connection/checked-audience.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { CloseInfo } from '../connection/types.ts'
import { toError } from '../errors.ts'
import { jsonText } from '../protocol/json-form.ts'
import { isThenable } from '../thenable.ts'
import type { ResolvedMessagesOptions } from './options.ts'
import { pushCheck } from './push-check.ts'
import type { Route, Routes } from './routes.ts'
import { checkOutgoing, checkReply } from './schema.ts'
import type { StreamedRoute } from './stream-route.ts'

export type OpenHook = (connection: Connection, ctx: Context) => unknown
export type CloseHook = (connection: Connection, info: CloseInfo) => unknown

export class Service {
  readonly routes: Routes
  readonly concurrency: number
  readonly maxMessage: number
  readonly maxOffences: number
  /** Checks pushes; null when checking is off or there is no protocol. */
  readonly check: PushCheck | null
  readonly onOpen: OpenHook[] = []
  readonly onClose: CloseHook[] = []
  readonly #validatesOut: boolean

  constructor(routes: Routes, options: ResolvedMessagesOptions) {
    this.routes = routes
    this.concurrency = options.concurrency
    this.maxMessage = options.maxMessage
    this.maxOffences = options.maxOffences
    this.#validatesOut = options.validateOut === true
    this.check = this.#validatesOut && !routes.isOpen ? pushCheck(routes.definition, true) : null
  }

  /** @throws MessageError when the value does not match the reply schema of the route */
  checkReply({ reply, type }: Route, value: unknown): void {
    if (this.#validatesOut && reply) checkReply(reply, value, type)
  }

  /**
   * Returns an item of a stream as JSON; undefined is null.
   * @throws MessageError for a value that does not match the schema, TypeError for one without a JSON form
   */
  itemOf({ stream, type }: StreamedRoute, value: unknown): string {
    if (this.#validatesOut && stream) checkOutgoing(stream, value, 'item of', type)
    return value === undefined ? 'null' : jsonText(value, 'item of', type)
  }

  /** Ends registration when the first connection is served. */
  seal(): void {
    this.routes.seal()
  }

  /** Runs the `onOpen` hooks in order. Returns null when all finished synchronously. */
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

  /** Runs the `onClose` hooks after the end and the `onOpen` hooks; reports errors. */
  closed(connection: Connection, opening: Promise<void> | null): void {
    const { onClose } = this
    if (onClose.length === 0) return
    const { owner } = coreOf(connection)
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
