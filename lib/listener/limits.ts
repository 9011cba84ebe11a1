// The options `maxConnections`, `maxPerAddress` and `maxPerSession`.
import type { Context } from 'koa'
import type { Refusal } from '../upgrade/handshake.ts'
import type { Seat } from '../upgrade/host.ts'
import { clientAddress, networkOf } from './address.ts'
import { askOnce } from './asked.ts'
import { sessionOf } from './sessions.ts'

/** The limits on the connections of an instance. Pending upgrades count. */
export interface LimitOptions {
  readonly maxConnections: number
  readonly maxPerAddress: number
  readonly maxPerSession: number
  /** Returns the key that `maxPerAddress` counts a request under, if the application sets one. */
  readonly address: ((req: Context['req']) => string) | undefined
  readonly ipv6Prefix: number
}

/** Counts connections and pending upgrades: in total, per address, and per HTTP/2 session. */
export class Limits {
  readonly #options: LimitOptions
  readonly #perAddress = new Map<string, number>()
  readonly #perSession = new WeakMap<object, number>()
  #total = 0

  constructor(options: LimitOptions) {
    this.#options = options
  }

  /** Whether `maxConnections` is reached. */
  get isFull(): boolean {
    return this.#total >= this.#options.maxConnections
  }

  /** Whether addresses are counted. */
  get byAddress(): boolean {
    return this.#options.maxPerAddress !== Infinity
  }

  /** Counts an upgrade. Returns its seat, a refusal, or null without limits. */
  acquire(req: Context['req'], app: Context['app'] | null): CountedSeat | Refusal | null {
    const { maxConnections, maxPerAddress, maxPerSession } = this.#options
    if (maxConnections === Infinity && maxPerSession === Infinity && !this.byAddress) return null
    const address = this.byAddress ? this.#addressOf(req, app) : ''
    const session = sessionOf(req) ?? null
    if (this.#total >= maxConnections) {
      return tooMany('maxConnections', 503, 'Too many connections to this server.')
    }
    const held = this.#perAddress.get(address) ?? 0
    if (held >= maxPerAddress) {
      return tooMany('maxPerAddress', 429, 'Too many connections from this address.')
    }
    const onSession = session === null ? 0 : (this.#perSession.get(session) ?? 0)
    if (onSession >= maxPerSession) {
      return tooMany('maxPerSession', 429, 'Too many connections over this HTTP/2 session.')
    }
    this.#total++
    if (session !== null) this.#perSession.set(session, onSession + 1)
    if (this.byAddress) this.#perAddress.set(address, held + 1)
    return new CountedSeat(this, address, session)
  }

  /** Releases a seat; each seat calls it once. */
  release(address: string, session: object | null): void {
    this.#total--
    if (session !== null)
      this.#perSession.set(session, (this.#perSession.get(session) as number) - 1)
    if (!this.byAddress) return
    const held = this.#perAddress.get(address) as number
    if (held > 1) this.#perAddress.set(address, held - 1)
    else this.#perAddress.delete(address)
  }

  #addressOf(req: Context['req'], app: Context['app'] | null): string {
    const { address, ipv6Prefix } = this.#options
    if (address) return String(askOnce('address', address, req, address))
    return networkOf(clientAddress(req, app) ?? req.socket.remoteAddress ?? '', ipv6Prefix)
  }
}

/** The keys that one connection, or pending upgrade, is counted under. */
export class CountedSeat implements Seat {
  readonly #limits: Limits
  readonly #address: string
  /** The HTTP/2 session of the request; null over HTTP/1.1. */
  readonly #session: object | null

  constructor(limits: Limits, address: string, session: object | null) {
    this.#limits = limits
    this.#address = address
    this.#session = session
  }

  release(): void {
    this.#limits.release(this.#address, this.#session)
  }
}

function tooMany(
  limit: 'maxConnections' | 'maxPerAddress' | 'maxPerSession',
  status: number,
  message: string,
): Refusal {
  return { code: 'ERR_KOAWS_TOO_MANY', limit, status, message, headers: { 'Retry-After': '5' } }
}
