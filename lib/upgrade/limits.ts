import type { Refusal } from './handshake.ts'

/** How many connections an instance takes. Pending upgrades count. */
export interface LimitOptions {
  readonly maxConnections: number
  readonly maxPerAddress: number
}

/** Counts whoever was let in, in all and by address; what is counted must be released once. */
export class Limits {
  readonly #options: LimitOptions
  readonly #perAddress = new Map<string, number>()
  #total = 0

  constructor(options: LimitOptions) {
    this.#options = options
  }

  /** Whether anything is limited here. */
  get active(): boolean {
    return this.#options.maxConnections !== Infinity || this.byAddress
  }

  /** Whether addresses are looked at at all. */
  get byAddress(): boolean {
    return this.#options.maxPerAddress !== Infinity
  }

  /** Count one more in, or say why not. */
  acquire(address: string): Refusal | null {
    const { maxConnections, maxPerAddress } = this.#options
    if (this.#total >= maxConnections) {
      return tooMany(503, 'This server has as many connections as it takes.')
    }
    const held = this.#perAddress.get(address) ?? 0
    if (held >= maxPerAddress) return tooMany(429, 'Too many connections from this address.')
    this.#total++
    if (this.byAddress) this.#perAddress.set(address, held + 1)
    return null
  }

  release(address: string): void {
    this.#total--
    if (!this.byAddress) return
    const held = this.#perAddress.get(address) as number
    if (held > 1) this.#perAddress.set(address, held - 1)
    else this.#perAddress.delete(address)
  }
}

function tooMany(status: number, message: string): Refusal {
  return { code: 'ERR_KOAWS_TOO_MANY', status, message, headers: { 'Retry-After': '5' } }
}
