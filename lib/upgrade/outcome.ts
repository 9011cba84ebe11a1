// Publishes the outcome of an upgrade, with the same fields everywhere.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'koa'
import { clean, debugUpgrade, pathOf } from '../debug.ts'
import { channels, type UpgradeEvent } from '../diagnostics.ts'
import { exposureOf, UpgradeError } from '../errors.ts'
import type { Carrier } from './carrier.ts'
import type { Refusal } from './handshake.ts'

/** The outcome of an upgrade. */
export interface Outcome {
  readonly status: number
  /** The error code of a refusal; undefined otherwise. */
  readonly code: string | undefined
  /** The reason, in words that the client may read. */
  readonly reason: string | undefined
  readonly duration: number
  /** The forwarded address of the client, when it is known without a ctx. */
  readonly ip: string | undefined
  /** The name of the instance; undefined when no plugin has decided. */
  readonly instance: string | undefined
}

/** Returns whether outcomes are logged or have a subscriber. */
export function isWatched(): boolean {
  return channels.upgrade.hasSubscribers || debugUpgrade.enabled
}

/** Publishes an outcome on the channel `koaws:upgrade`, and logs it as one line of `NODE_DEBUG`. */
export function announce(req: IncomingMessage, ctx: Context | null, outcome: Outcome): void {
  if (!isWatched()) return
  const { headers } = req
  const { status, code, reason, duration, ip, instance } = outcome
  const fields: Omit<UpgradeEvent, 'request'> = {
    instance,
    path: pathOf(ctx?.originalUrl ?? req.url),
    method: clean(req.method) ?? '',
    status,
    code,
    reason: clean(reason),
    ip: clean(ctx?.ip ?? ip ?? req.socket?.remoteAddress) ?? '',
    origin: clean(headers.origin),
    userAgent: clean(headers['user-agent']),
    requestId: clean(headers['x-request-id']),
    duration,
  }
  const event = withRequest(fields, req)
  if (channels.upgrade.hasSubscribers) channels.upgrade.publish(event)
  if (debugUpgrade.enabled) debugUpgrade('%s', lineOf(event))
}

/** The parts of a decided upgrade that its outcome is made of. */
interface Decided {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly ctx: Context | null
  readonly host: { readonly instance: string } | null
  readonly phase: string
  readonly carrier: Pick<Carrier, 'accepts'>
  readonly refusal: Refusal | null
  readonly aborted: Error | null
  readonly error: unknown
  clientAddress(req: IncomingMessage): string | undefined
}

/** Publishes the outcome of an upgrade that took `duration` milliseconds. */
export function announceOutcome(upgrade: Decided, duration: number): void {
  const { req, res, ctx, phase, refusal, aborted } = upgrade
  const answered = phase === 'accepted' || phase === 'http'
  const accepted = phase === 'accepted' && upgrade.carrier.accepts(res.statusCode)
  const why = refusal?.message ?? aborted?.message ?? exposureOf(upgrade.error).message
  announce(req, ctx, {
    status: answered ? res.statusCode : (refusal?.status ?? 0),
    code: refusal?.code ?? (aborted instanceof UpgradeError ? aborted.code : undefined),
    reason: accepted ? undefined : (why ?? undefined),
    duration,
    ip: ctx ? undefined : upgrade.clientAddress(req),
    instance: upgrade.host?.instance,
  })
}

/** Returns one line with the fields of the event; unknown fields are left out. */
function lineOf({ method, path, status, duration, ...others }: UpgradeEvent): string {
  const words = [method, path, String(status), `${duration}ms`]
  for (const name of ['code', 'ip', 'origin', 'userAgent', 'requestId', 'reason'] as const) {
    const value = others[name]
    if (value !== undefined && value !== '') words.push(`${name}=${JSON.stringify(value)}`)
  }
  return words.join(' ')
}

/** Adds the request so that a subscriber that logs events does not log its headers. */
function withRequest(fields: Omit<UpgradeEvent, 'request'>, request: unknown): UpgradeEvent {
  return Object.defineProperty(fields, 'request', { value: request }) as UpgradeEvent
}
