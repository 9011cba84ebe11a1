import type { Refusal } from './handshake.ts'

/** How many connections an instance takes. Pending upgrades count. */
export interface LimitOptions {
  readonly maxConnections: number
  readonly maxPerAddress: number
  readonly maxPerSession: number
}

/** What one connection, or pending upgrade, is counted under. */
export interface Seat {
  readonly address: string
  /** The HTTP/2 session that it came on; null over HTTP/1. */
  readonly session: object | null
}

/** Counts whoever was let in, in all, by address and by HTTP/2 session; each seat is released once. */
export class Limits {
  readonly #options: LimitOptions
  readonly #perAddress = new Map<string, number>()
  readonly #perSession = new WeakMap<object, number>()
  #total = 0

  constructor(options: LimitOptions) {
    this.#options = options
  }

  /** Whether anything is limited here. */
  get active(): boolean {
    const { maxConnections, maxPerSession } = this.#options
    return maxConnections !== Infinity || maxPerSession !== Infinity || this.byAddress
  }

  /** Whether addresses are looked at at all. */
  get byAddress(): boolean {
    return this.#options.maxPerAddress !== Infinity
  }

  /** Count one more in, or say why not. */
  acquire({ address, session }: Seat): Refusal | null {
    const { maxConnections, maxPerAddress, maxPerSession } = this.#options
    if (this.#total >= maxConnections) {
      return tooMany('maxConnections', 503, 'This server has as many connections as it takes.')
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
    return null
  }

  release({ address, session }: Seat): void {
    this.#total--
    if (session !== null)
      this.#perSession.set(session, (this.#perSession.get(session) as number) - 1)
    if (!this.byAddress) return
    const held = this.#perAddress.get(address) as number
    if (held > 1) this.#perAddress.set(address, held - 1)
    else this.#perAddress.delete(address)
  }
}

function tooMany(limit: keyof LimitOptions, status: number, message: string): Refusal {
  return { code: 'ERR_KOAWS_TOO_MANY', limit, status, message, headers: { 'Retry-After': '5' } }
}
