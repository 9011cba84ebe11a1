// The options of `inspector()`: types, defaults and checks.

import type { Context } from 'koa'
import { OptionsError } from '../index.ts'
import {
  ACTIONS,
  type ActionRequest,
  type AuditEvent,
  type InspectorAction,
} from './action-request.ts'
import { membersOf } from './reading.ts'
import type { MeasuredApp } from './timeline.ts'

/** The options of `inspector()`. */
export interface InspectorOptions {
  /** Where the page is. @default '/inspector' */
  path?: string | undefined
  /**
   * Decides whether a client may see the page. It is asked for each request of a file, for each socket, and again with the `action`
   * before each action, with the ctx of the socket's handshake. A result other than true gets 403; what it throws is
   * the answer, such as `ctx.throw(401)`. Without it, only requests from this machine are served: see
   * `docs/guides/inspector.md`.
   */
  authorize?: ((ctx: Context, action?: ActionRequest) => boolean | Promise<boolean>) | undefined
  /**
   * The actions that the page offers: a list, or a function that is asked before each. @default none
   */
  actions?:
    | readonly InspectorAction[]
    | ((ctx: Context, action: ActionRequest) => boolean | Promise<boolean>)
    | undefined
  /**
   * Returns the part of `connection.state` that the page shows, as JSON of at most 4,000 characters. @default nothing
   */
  redact?: ((state: unknown) => unknown) | undefined
  /** Whether the page shows the first 500 characters of messages, not only their types and sizes. @default false */
  bodies?: boolean | undefined
  /**
   * The Koa app, to measure the time of each middleware of an upgrade. Its middleware is wrapped by the next
   * `app.callback()`, which `app.listen()` calls. @default no timeline
   */
  app?: MeasuredApp | undefined
  /** Is told of each action, also of refused ones, as the channel `koaws:audit` is. */
  onAction?: ((event: AuditEvent, ctx: Context) => void) | undefined
}

/** {@link InspectorOptions}, with the defaults filled in. */
export interface ResolvedOptions {
  readonly path: string
  readonly authorize: InspectorOptions['authorize']
  readonly actions: NonNullable<InspectorOptions['actions']>
  readonly redact: InspectorOptions['redact']
  readonly bodies: boolean
  readonly app: InspectorOptions['app']
  readonly onAction: InspectorOptions['onAction']
}

function isApp(value: unknown): boolean {
  const { middleware, callback } = membersOf(value)
  return Array.isArray(middleware) && typeof callback === 'function'
}

type Check = readonly [test: (value: unknown) => boolean, what: string]

const isFunction = (value: unknown): boolean => typeof value === 'function'
const isBoolean = (value: unknown): boolean => typeof value === 'boolean'
const isAction = (value: unknown): boolean => ACTIONS.some((action) => action === value)

const CHECKS: Readonly<Record<keyof InspectorOptions, Check>> = {
  path: [
    (value) => typeof value === 'string' && /^(\/[\w.~-]+)+$/.test(value),
    'a path such as "/inspector", without a slash at its end',
  ],
  authorize: [isFunction, 'a function of the ctx'],
  actions: [
    (value) => isFunction(value) || (Array.isArray(value) && value.every(isAction)),
    `a list of ${ACTIONS.map((action) => `"${action}"`).join(', ')}, or a function of the ctx`,
  ],
  redact: [isFunction, 'a function of the state'],
  bodies: [isBoolean, 'true or false'],
  app: [isApp, 'the Koa app'],
  onAction: [isFunction, 'a function of the event'],
}

function isOption(name: string): name is keyof InspectorOptions {
  return Object.hasOwn(CHECKS, name)
}

/** Checks the options, and fills in the defaults. @throws OptionsError for a wrong one */
export function resolveOptions(given: InspectorOptions): ResolvedOptions {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionsError('inspector() takes a hub and an object of options.')
  }
  for (const [name, value] of Object.entries(given)) {
    if (!isOption(name)) {
      const known = Object.keys(CHECKS).join(', ')
      throw new OptionsError(`inspector() has no option "${name}". It has: ${known}.`)
    }
    const [test, what] = CHECKS[name]
    if (value !== undefined && !test(value)) {
      throw new OptionsError(`inspector(): the option "${name}" must be ${what}.`)
    }
  }
  return {
    path: given.path ?? '/inspector',
    authorize: given.authorize,
    actions: given.actions ?? [],
    redact: given.redact,
    bodies: given.bodies ?? false,
    app: given.app,
    onAction: given.onAction,
  }
}
