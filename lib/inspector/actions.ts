// Carries out what the page asks for: close, leave, push. Each is refused unless an option allows it.

import { channel } from 'node:diagnostics_channel'
import type { Context } from 'koa'
import { type Audience, CloseCode, type Hub, MessageError } from '../index.ts'
import {
  ACTIONS,
  type ActionRequest,
  type AuditEvent,
  type InspectorAction,
} from './action-request.ts'
import { assertAllowed } from './guard.ts'
import type { ResolvedOptions } from './options.ts'
import { membersOf, numberOf, textOf } from './reading.ts'
import { readSubject, type Subject } from './recorders.ts'

const audits = channel('koaws:audit')
const LONGEST_DATA = 8_000

/** Carries out actions on one hub. */
export class Actions {
  readonly #hub: Hub
  readonly #options: ResolvedOptions

  constructor(hub: Hub, options: ResolvedOptions) {
    this.#hub = hub
    this.#options = options
  }

  /** The actions that the page may offer: with a function, all. */
  get offered(): readonly InspectorAction[] {
    const { actions } = this.#options
    return typeof actions === 'function' ? ACTIONS : actions
  }

  /**
   * Carries out an action.
   *
   * @returns how many connections of this instance a push was sent to; null for other actions
   * @throws MessageError when it is not allowed, or wrong
   */
  async act(given: unknown, ctx: Context): Promise<number | null> {
    const request = readAction(given)
    if (!request) throw new MessageError(400, 'The action is wrong.')
    const refusal = await this.#refusal(request, ctx)
    if (refusal !== null) {
      this.#tell(request, ctx, 'refused', refusal)
      throw new MessageError(403, refusal)
    }
    try {
      const result = await this.#carryOut(request, membersOf(given)['data'])
      this.#tell(request, ctx, 'done', '')
      return result
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.#tell(request, ctx, 'failed', why)
      throw new MessageError(400, why)
    }
  }

  /** Asks the options, each time anew. */
  async #refusal(request: ActionRequest, ctx: Context): Promise<string | null> {
    const { actions } = this.#options
    try {
      await assertAllowed(this.#options, ctx, request)
    } catch {
      return 'You are no longer allowed to use the inspector.'
    }
    const allowed =
      typeof actions === 'function' ? await actions(ctx, request) : actions.includes(request.action)
    return allowed === true ? null : `The option "actions" does not allow "${request.action}".`
  }

  async #carryOut(request: ActionRequest, data: unknown): Promise<number | null> {
    const audience = this.#audience(request)
    switch (request.action) {
      case 'close':
        await audience.close(request.code, request.reason)
        return null
      case 'leave':
        await audience.leave(request.room)
        return null
      case 'push':
        if ((JSON.stringify(data) ?? '').length > LONGEST_DATA) {
          throw new RangeError(`A test push has at most ${LONGEST_DATA} characters of JSON.`)
        }
        return audience.push(request.type, data).local
    }
  }

  #audience({ kind, name }: Subject): Audience {
    switch (kind) {
      case 'connection':
        return this.#hub.connection(name)
      case 'room':
        return this.#hub.room(name)
      case 'user':
        return this.#hub.user(name)
    }
  }

  #tell(request: ActionRequest, ctx: Context, outcome: AuditEvent['outcome'], why: string): void {
    const { onAction } = this.#options
    if (!onAction && !audits.hasSubscribers) return
    const instance = this.#hub.status().id
    const event: AuditEvent = { ...request, instance, at: Date.now(), ip: ctx.ip, outcome, why }
    if (audits.hasSubscribers) audits.publish(event)
    try {
      onAction?.(event, ctx)
    } catch (error) {
      ctx.app.emit('error', error, ctx)
    }
  }
}

function readAction(given: unknown): ActionRequest | null {
  const { action, code, reason, room, type } = membersOf(given)
  const subject = readSubject(given)
  const known = ACTIONS.find((one) => one === action)
  if (!subject || !known) return null
  return {
    action: known,
    ...subject,
    code: known === 'close' ? numberOf(code, CloseCode.normal) : CloseCode.normal,
    reason: known === 'close' ? textOf(reason) : '',
    room: known === 'leave' ? textOf(room, 256) : '',
    type: known === 'push' ? textOf(type, 256) : '',
  }
}
