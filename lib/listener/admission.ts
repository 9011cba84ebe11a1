// Checks an upgrade against the options of a plugin: `filter`, origin, limits.
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import { debugUpgrade, messageOf } from '../debug.ts'
import type { Refusal } from '../upgrade/handshake.ts'
import { hintOrigin } from '../upgrade/hints.ts'
import type { UpgradeHost } from '../upgrade/host.ts'
import { announce } from '../upgrade/outcome.ts'
import type { Upgrade } from '../upgrade/upgrade.ts'
import { askOnce } from './asked.ts'
import { CountedSeat, type Limits } from './limits.ts'
import { checkOrigin, type OriginRules } from './origin.ts'

/** One plugin, as the listener of a server and the plugin's middleware see it. */
export interface AdmissionHost extends UpgradeHost {
  readonly origin: OriginRules
  readonly limits: Limits
  readonly filter: ((req: IncomingMessage) => boolean) | undefined
  /** Whether to trust forwarded headers; undefined while that is unknown. */
  readonly proxy: boolean | undefined
  /** The app that uses the plugin; null while unknown. */
  readonly app: Context['app'] | null
  /** Returns the client's address like `ctx.ip`, if the app is known and trusts its proxy. */
  clientAddress(req: IncomingMessage): string | undefined
}

/** Returns the answer of the plugin's `filter`, which must be synchronous. */
export function passesFilter({ filter }: AdmissionHost, req: IncomingMessage): boolean {
  return !filter || Boolean(askOnce('filter', filter, req, filter))
}

/**
 * Checks origin and limits of the only plugin, before the application runs. When the result depends
 * on an unknown proxy setting, the plugin checks later, when the chain reaches it.
 */
export function admitEarly(upgrade: Upgrade, host: AdmissionHost): Refusal | null {
  const { headers } = upgrade.req
  const forwarded =
    headers['x-forwarded-host'] ?? headers['x-forwarded-for'] ?? headers['x-forwarded-proto']
  if (host.proxy === undefined && (forwarded !== undefined || host.limits.byAddress)) return null
  try {
    return admit(upgrade, host, host.app)
  } catch (error) {
    // A function of the options threw. It throws again when the chain reaches the plugin, and Koa
    // answers.
    debugUpgrade('a function of the options threw: %s', messageOf(error))
    return null
  }
}

/** Checks origin and limits of a plugin, once per upgrade. Returns the refusal, or null. */
export function admit(
  upgrade: Upgrade,
  host: AdmissionHost,
  app: Context['app'] | null,
): Refusal | null {
  if (upgrade.checkedFor === host) return null
  const refusal = checkOrigin(host.origin, upgrade.req, app?.proxy === true)
  if (refusal) {
    hintOrigin(refusal.message)
    return refusal
  }
  upgrade.takeSeat()?.release()
  const seat = host.limits.acquire(upgrade.req, app)
  if (seat && !(seat instanceof CountedSeat)) return seat
  upgrade.admitted(host, seat)
  return null
}

/** Reports a refusal that has no `Upgrade`, and returns it. */
export function announced(
  req: IncomingMessage,
  refusal: Refusal,
  ip: string | undefined,
  instance: string | undefined,
): Refusal {
  const { status, code, message } = refusal
  announce(req, null, { status, code, reason: message, duration: 0, ip, instance })
  return refusal
}

/** Returns the counter of a refusal in `status().drops`. */
export function countName({ code, limit }: Refusal): string {
  if (code === 'ERR_KOAWS_ORIGIN') return 'origin'
  if (code === 'ERR_KOAWS_DRAINING') return 'draining'
  if (code === 'ERR_KOAWS_OPTIONS') return 'filter'
  return limit ?? 'badHandshake'
}
