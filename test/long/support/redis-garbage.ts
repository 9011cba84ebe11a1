import { mulberry32 } from '../../support/order.ts'

/** A payload that this version of koaws has not written. */
export interface Garbage {
  readonly kind: string
  readonly payload: Buffer
}

const SOCKET_IO = Buffer.from(
  '93a64e3950366d538403a474797065 02a46461746192a16da568656c6c6fa36e7370a12f'.replaceAll(' ', ''),
  'hex',
)
const TEXTS = [
  '{"type":"m","data":{"p":0,"s":0}}',
  '{"type":"koaws:resync","data":{"room":"lobby"}}',
  '{"uid":"N96mS","type":3,"data":{"packet":{"type":2,"data":["m",1]},"opts":{"rooms":["lobby"]}}}',
  '42["m",{"p":0,"s":0}]',
  'null',
  '[]',
  'KW',
  'KW\u0001',
  'message',
]

/** Makes garbage of every kind from real payloads, reproducibly from a seed. */
export class GarbageMaker {
  readonly #random: () => number
  readonly #real: readonly Buffer[]
  readonly #whole: ReadonlySet<string>
  readonly #kinds: readonly [string, number, () => Buffer][]

  constructor(seed: number, real: readonly Buffer[]) {
    this.#random = mulberry32(seed)
    this.#real = real
    this.#whole = new Set(real.map((payload) => payload.toString('latin1')))
    this.#kinds = [
      ['random', 20, () => this.#bytes(this.#below(2_000))],
      ['random after the mark', 10, () => this.#marked()],
      ['bits flipped', 25, () => this.#flipped()],
      ['truncated', 15, () => this.#one().subarray(0, this.#below(this.#one().length))],
      ['longer', 5, () => Buffer.concat([this.#one(), this.#bytes(1 + this.#below(50))])],
      ['of two', 8, () => this.#spliced()],
      ['another version', 5, () => this.#changed(2)],
      ['another kind', 3, () => this.#changed(3)],
      ['foreign', 7, () => this.#foreign()],
      ['huge', 0.3, () => this.#huge()],
    ]
  }

  next(): Garbage {
    for (;;) {
      const [kind, , make] = this.#pick()
      const payload = make()
      if (!this.#whole.has(payload.toString('latin1'))) return { kind, payload }
    }
  }

  /** Returns a real payload with a few bytes changed after its header. */
  mutated(head: number): Buffer {
    const payload = Buffer.from(this.#one())
    for (let i = 1 + this.#below(4); i > 0; i--) {
      payload[head + this.#below(payload.length - head)] = this.#below(256)
    }
    return payload
  }

  #pick(): readonly [string, number, () => Buffer] {
    const all = this.#kinds.reduce((sum, [, weight]) => sum + weight, 0)
    let at = this.#random() * all
    for (const kind of this.#kinds) {
      at -= kind[1]
      if (at < 0) return kind
    }
    return this.#kinds[0] as readonly [string, number, () => Buffer]
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #one(): Buffer {
    return this.#real[this.#below(this.#real.length)] as Buffer
  }

  #bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length)
    for (let i = 0; i < length; i++) bytes[i] = this.#below(256)
    return bytes
  }

  #marked(): Buffer {
    const bytes = this.#bytes(4 + this.#below(500))
    this.#one().copy(bytes, 0, 0, 4)
    return bytes
  }

  #flipped(): Buffer {
    const payload = Buffer.from(this.#one())
    for (let i = 1 + this.#below(8); i > 0; i--) {
      const at = this.#below(payload.length)
      payload[at] = (payload[at] as number) ^ (1 << this.#below(8))
    }
    return payload
  }

  #spliced(): Buffer {
    const [first, second] = [this.#one(), this.#one()]
    return Buffer.concat([
      first.subarray(0, this.#below(first.length)),
      second.subarray(this.#below(second.length)),
    ])
  }

  #changed(at: number): Buffer {
    const payload = Buffer.from(this.#one())
    payload[at] = this.#below(256)
    return payload
  }

  #foreign(): Buffer {
    const which = this.#below(TEXTS.length + 1)
    return which === TEXTS.length ? SOCKET_IO : Buffer.from(TEXTS[which] as string)
  }

  /** Up to half a MiB, because Redis disconnects subscribers that fall far behind. */
  #huge(): Buffer {
    const real = this.#one()
    return Buffer.concat([
      real.subarray(0, this.#below(real.length)),
      Buffer.alloc(this.#below(1 << 19), 7),
    ])
  }
}
