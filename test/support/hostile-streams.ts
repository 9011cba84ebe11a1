import { mulberry32 } from './order.ts'

const COUNTS = [
  '0',
  '1',
  '-1',
  '1.5',
  '65536',
  '262144',
  '9007199254740991',
  '9007199254740992',
  '1e999',
  'null',
  'true',
  '"1"',
  '[]',
  '{}',
]
const FLAGS = ['true', 'false', 'null', '1', '"true"', '{}']
const KEYS = [
  '"0123456789abcdef"',
  '"0123456789abcdeg"',
  '"short"',
  '""',
  '7',
  'null',
  '{}',
  JSON.stringify('x'.repeat(64)),
  JSON.stringify('x'.repeat(65)),
  '"ä123456789abcdef"',
  '"__proto__constructor"',
]
const VALUES = [
  'null',
  'true',
  '7',
  '""',
  '"text"',
  '[]',
  '{}',
  '{"bytes":1}',
  '{"then":1}',
  '{"toJSON":1}',
  '{"__proto__":{"bytes":9}}',
  '"\\ud800"',
  '[[[[]]]]',
]

/** The types of the server that is attacked: `hostile-streams-attack.ts`. */
const TYPES = ['list', 'endless', 'take', 'both', 'plain', 'fail', 'resumed', 'unknown']

/** Generates messages of streams, most of which break the protocol: the same ones for the same seed. */
export class HostileStreams {
  readonly #random: () => number
  #lastId = 0

  constructor(seed: number) {
    this.#random = mulberry32(seed)
  }

  chance(share: number): boolean {
    return this.#random() < share
  }

  below(most: number): number {
    return Math.floor(this.#random() * most)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  /** Forgets the ids of the last connection. */
  begin(): void {
    this.#lastId = 0
  }

  next(): string {
    const dice = this.#random()
    if (dice < 0.3) return this.#request()
    if (dice < 0.5) return this.#part('koaws:credit', this.#credit())
    if (dice < 0.75) return this.#part('koaws:item', this.#item())
    if (dice < 0.83)
      return this.#part('koaws:end', this.chance(0.8) ? undefined : this.pick(VALUES))
    if (dice < 0.93)
      return this.#part('koaws:cancel', this.chance(0.8) ? undefined : this.pick(VALUES))
    return this.#part(
      this.pick(['koaws:reply', 'koaws:error', 'koaws:ping', 'koaws:items', 'koaws:Item']),
      this.pick(VALUES),
    )
  }

  #request(): string {
    const fields: string[] = [`"type":"${this.pick(TYPES)}"`]
    const add = (
      name: string,
      share: number,
      valid: () => string,
      odd: readonly string[],
    ): void => {
      if (this.chance(share))
        fields.push(`"${name}":${this.chance(0.85) ? valid() : this.pick(odd)}`)
    }
    fields.push(`"id":${this.#id()}`)
    add(
      'credit',
      0.75,
      () => this.pick(['1', '100', '65536', '262144', '9007199254740991']),
      COUNTS,
    )
    add('upload', 0.4, () => 'true', FLAGS)
    add('key', 0.4, () => `"${this.#key()}"`, KEYS)
    add('again', 0.2, () => 'true', FLAGS)
    add('since', 0.2, () => String(this.below(20)), COUNTS)
    add('data', 0.8, () => String(this.below(200)), VALUES)
    if (this.chance(0.1)) fields.reverse()
    return `{${fields.join()}}`
  }

  #part(type: string, data: string | undefined): string {
    const id = this.chance(0.9) ? `,"id":${1 + this.below(Math.max(1, this.#lastId))}` : ''
    return `{"type":"${type}"${id}${data === undefined ? '' : `,"data":${data}`}}`
  }

  #credit(): string {
    if (this.chance(0.2)) return this.pick(VALUES)
    const bytes = this.chance(0.7) ? String(this.below(70_000)) : this.pick(COUNTS)
    const items = this.chance(0.5)
      ? `,"items":${this.chance(0.7) ? this.below(100) : this.pick(COUNTS)}`
      : ''
    return `{"bytes":${bytes}${items}}`
  }

  #item(): string {
    if (this.chance(0.3)) return this.pick(VALUES)
    return JSON.stringify('x'.repeat(this.chance(0.05) ? this.below(66_000) : this.below(300)))
  }

  /** A new id, one of an open stream, or none that is valid. */
  #id(): string {
    if (this.chance(0.05)) return this.pick(COUNTS)
    if (this.chance(0.1)) return String(1 + this.below(Math.max(1, this.#lastId)))
    return String(++this.#lastId)
  }

  /** One of a few, so that streams are found again. */
  #key(): string {
    return `key-of-a-stream-${this.below(12)}`
  }
}
