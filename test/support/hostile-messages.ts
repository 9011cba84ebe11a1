import { mulberry32 } from './order.ts'

/** One message to send. */
export interface HostileMessage {
  readonly data: string | Buffer
  /** Whether it is sent as a binary message; otherwise a Buffer is sent as text, byte for byte. */
  readonly binary: boolean
  /** Whether it ends the WebSocket: malformed UTF-8 (1007), or above `maxPayload` (1009). */
  readonly ends: boolean
}

/** The attacked side decides which messages of the protocol are generated. */
export type Direction = 'to the server' | 'to the client'

/** The options of a generator. */
export interface HostileOptions {
  readonly seed: number
  readonly direction: Direction
  /** Types that the other side handles. */
  readonly types: readonly string[]
  /** Tokens; some of them are accepted. */
  readonly tokens?: readonly string[]
}

type Maker = () => HostileMessage
type Weighted = readonly [weight: number, make: Maker]

const KIB = 1024
const BIGGEST_ID = '9007199254740991'

/** Names that every object has, or that JavaScript or a library looks up. */
const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'valueOf',
  'hasOwnProperty',
  'then',
  'length',
  'toJSON',
  'name',
  'message',
  'stack',
  '~standard',
  '__defineGetter__',
  'isPrototypeOf',
  'nodeType',
  'value',
  'issues',
  'expose',
  '',
  '0',
  '-1',
  '$ref',
  'type',
  'data',
  'id',
]

/** Spellings of a name that JSON allows. */
const SPELLINGS: readonly ((name: string) => string)[] = [
  (name) => JSON.stringify(name),
  (name) => `"${[...name].map(escaped).join('')}"`,
  (name) => `"${name.replaceAll('_', '\\u005f')}"`,
  (name) => `"${name.replace('_', '\\u005F')}"`,
  (name) => `"${name.replace(/[a-z]/, escaped)}"`,
]

const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Numbers as JSON text. */
const NUMBERS = [
  '0',
  '-0',
  '-1',
  '1.5',
  '1e0',
  '1E3',
  '1e999',
  '-1e999',
  '1e-999',
  '0.1e1',
  '4294967296',
  '9007199254740990',
  BIGGEST_ID,
  '9007199254740992',
  '9007199254740993',
  '99999999999999999999999999999999',
  '123456789012345678901234567890e-20',
]

/** Values of any kind as JSON text. */
const VALUES = [
  'null',
  'true',
  'false',
  '""',
  '"text"',
  '[]',
  '{}',
  '[[]]',
  '{"text":"hi"}',
  '{"text":7}',
  '{"text":"longer than what the schema of this type allows"}',
  '"\\ud800"',
  '"\\udfff\\ud800"',
  '"\\u0000"',
  '"\u2028"',
  '"😀"',
  '{"toString":null,"valueOf":null}',
  '{"then":"x","toJSON":"y"}',
  '{"length":-1}',
  '{"length":4294967295,"0":1}',
  '[1,2,3]',
  '{"how":"fail"}',
  '"{\\"type\\":\\"say\\",\\"id\\":1}"',
  ...NUMBERS,
]

/** Texts that are not JSON, or not an envelope. */
const NO_MESSAGES = [
  '',
  ' ',
  '{',
  '}',
  '[]',
  'null',
  'true',
  '7',
  '"text"',
  'undefined',
  'NaN',
  '{}',
  '{type:"say"}',
  "{'type':'say'}",
  '{"type":"say",}',
  '{"type":"say"}}',
  '{"type":"say"} {"type":"say"}',
  '{"type":"say","id":01}',
  '{"type":"say","id":+1}',
  '{"type":"say","id":0x1}',
  '{"type":"say"/* */}',
  '\ufeff{"type":"say"}',
  '{"type":"say"}\u0000',
  '{"type":"sa\ny"}',
  '{"type":"\\x41"}',
  '{"type":"\\u00"}',
  '[{"type":"say","id":1}]',
  'GET / HTTP/1.1\r\n\r\n',
]

/** Codes of errors as JSON text, known and unknown. */
const CODES = [
  '"forbidden"',
  '"internal"',
  '"ERR_KOAWS_CLOSED"',
  '""',
  '7',
  'null',
  '{}',
  '[["x"]]',
]

/** Malformed UTF-8: cut off, overlong, a surrogate, above U+10FFFF, a lone continuation. */
const NO_UTF8 = ['c3', 'c080', 'eda080', 'f4908080', '80', '7b2274797065223a22e282', 'ff', 'f09f98']

/**
 * Generates messages of `koaws.v1` and messages of an attacker: the same ones for the same seed.
 */
export class HostileMessages {
  /** The number of messages of each kind. */
  readonly made: Record<string, number> = {}
  readonly #random: () => number
  readonly #options: HostileOptions
  readonly #makers: readonly { name: string; until: number; make: Maker }[]
  readonly #total: number
  #lastId = 0

  constructor(options: HostileOptions) {
    this.#options = options
    this.#random = mulberry32(options.seed)
    let until = 0
    this.#makers = Object.entries(this.#table()).map(([name, [weight, make]]) => {
      until += weight
      return { name, until, make }
    })
    this.#total = until
  }

  next(): HostileMessage {
    const dice = this.#random() * this.#total
    const { name, make } = this.#makers.find(({ until }) => dice < until) as { name: string } & {
      make: Maker
    }
    this.made[name] = (this.made[name] ?? 0) + 1
    return make()
  }

  /** Returns true with this probability, from 0 to 1. */
  chance(share: number): boolean {
    return this.#random() < share
  }

  /** Returns an integer from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  // ---- the kinds

  #table(): Record<string, Weighted> {
    const toClient = this.#options.direction === 'to the client'
    return {
      valid: [
        350,
        () => text(this.#envelope(this.#type(), this.#mayHave(this.#id()), this.#fit())),
      ],
      'other data': [
        120,
        () => text(this.#envelope(this.#type(), this.#mayHave(this.#id()), this.#value())),
      ],
      'of the protocol': [120, () => text(toClient ? this.#fromServer() : this.#fromClient())],
      answer: [40, () => text(this.#answer())],
      'unknown type': [40, () => text(this.#unknown())],
      'odd id': [40, () => text(this.#envelope(this.#type(), this.#oddId(), this.#value()))],
      'odd type': [30, () => text(this.#envelope(this.#oddType(), this.#id(), this.#value()))],
      'odd names': [60, () => text(this.#oddNames())],
      nested: [30, () => text(this.#nested(28 + this.below(9)))],
      'nested deep': [2, () => text(this.#nested(1_000 + this.below(20_000)))],
      'twice the same name': [30, () => text(this.#twice())],
      'many fields': [10, () => text(this.#manyFields())],
      'long array': [2, () => text(this.#longArray())],
      'around the limit': [2, () => text(this.#sized(63 * KIB + this.below(2 * KIB)))],
      'at the limit': [1, () => text(this.#sized(64 * KIB + this.below(3) - 1))],
      'no message': [40, () => text(this.pick(NO_MESSAGES))],
      mutated: [100, () => text(this.#mutated())],
      binary: [15, () => this.#binary()],
      'no UTF-8': [0.15, () => this.#noUtf8()],
      'above maxPayload': [0.02, () => ({ ...text('x'.repeat(KIB * KIB + 1)), ends: true })],
    }
  }

  #envelope(type: string, id: string | undefined, data: string | undefined): string {
    const fields = [`"type":${type}`]
    if (id !== undefined) fields.push(`"id":${id}`)
    if (data !== undefined) fields.push(`"data":${data}`)
    if (this.chance(0.05)) fields.push(this.#reserved())
    if (this.chance(0.1)) fields.reverse()
    const space = this.chance(0.05) ? '\n\t ' : ''
    return `{${fields.join(`,${space}`)}}`
  }

  /** Fields of a later version. */
  #reserved(): string {
    return `"${this.pick(['room', 'offset', 'epoch', 'trace'])}":${this.#value()}`
  }

  #type(): string {
    return JSON.stringify(this.pick(this.#options.types))
  }

  #id(): string {
    return String(++this.#lastId)
  }

  #mayHave(id: string): string | undefined {
    return this.chance(0.7) ? id : undefined
  }

  #oddId(): string {
    return this.pick([...NUMBERS, 'null', '"1"', 'true', '[1]', '{}', '{"valueOf":1}'])
  }

  #value(): string {
    return this.pick(VALUES)
  }

  /** Data that some type of the tests takes. */
  #fit(): string | undefined {
    return this.pick([
      undefined,
      `{"text":"${this.#id()}"}`,
      `{"text":${JSON.stringify(this.pick(['', 'ä', '€', '😀', '\u0000', 'a"b\\c']))}}`,
      `[${this.#id()}]`,
      `{"how":"${this.pick(['fail', 'expose', 'null', 'proxy', 'getters', 'bigint', 'cycle', 'twice', 'then', 'forbid', 'function', 'later'])}"}`,
    ])
  }

  #unknown(): string {
    const type = this.pick([...NAMES.slice(0, 12), 'nobody knows', 'koaws', 'Koaws:ping', 'SAY'])
    return this.#envelope(JSON.stringify(type), this.#mayHave(this.#id()), this.#value())
  }

  #oddType(): string {
    return this.pick([
      '""',
      '7',
      'null',
      '["say"]',
      '{"toString":"say"}',
      '"\\ud800"',
      '"say\\u0000"',
      '"\\u0073ay"',
      JSON.stringify('x'.repeat(254 + this.below(3))),
      JSON.stringify('ä'.repeat(126 + this.below(3))),
      JSON.stringify('€'.repeat(84 + this.below(3))),
      JSON.stringify('x'.repeat(this.below(20_000))),
    ])
  }

  /** A message of the protocol to the server; most of these types are wrong in this direction. */
  #fromClient(): string {
    const type = this.pick([
      'koaws:ping',
      'koaws:ping',
      'koaws:ping',
      'koaws:auth',
      'koaws:welcome',
      'koaws:bye',
      'koaws:authenticate',
      'koaws:resync',
      'koaws:presence',
      'koaws:subscribe',
      'koaws:unsubscribe',
      'koaws:later',
      'koaws:',
      'koaws:__proto__',
      `koaws:${'x'.repeat(this.below(260))}`,
    ])
    const token = JSON.stringify(this.pick(this.#options.tokens ?? ['x', '', 'ä', 'a b']))
    const data = type === 'koaws:auth' && this.chance(0.8) ? `{"token":${token}}` : this.#value()
    return this.#envelope(JSON.stringify(type), this.#mayHave(this.#id()), data)
  }

  #fromServer(): string {
    const type = this.pick(['koaws:welcome', 'koaws:bye', 'koaws:authenticate', 'koaws:later'])
    const number = (): string =>
      this.pick([...NUMBERS, '"5"', 'null', '[]', '{"valueOf":1}', '200'])
    const data = this.chance(0.2)
      ? this.#value()
      : `{"version":${number()},"connection":${this.#value()},"heartbeat":${number()},"maxMessage":${this.pick(['65536', '65536', number()])},"expiresAt":${number()},"refresh":${this.pick(['true', 'false', '1'])},"timeout":${number()},"after":${number()},"code":${number()},"reason":${this.#value()}}`
    return this.#envelope(JSON.stringify(type), this.chance(0.3) ? this.#id() : undefined, data)
  }

  /** An answer with an id up to 2,000 or an odd id, with or without its fields. */
  #answer(): string {
    const id = this.chance(0.8) ? String(1 + this.below(2_000)) : this.#oddId()
    if (this.chance(0.4)) return `{"type":"koaws:reply","id":${id},"data":${this.#value()}}`
    const about = this.chance(0.3) ? `,"about":${this.#value()}` : ''
    const error = this.chance(0.2) ? this.#value() : this.#errorBody()
    const field = this.chance(0.9) ? `,"error":${error}` : ''
    return `{"type":"koaws:error"${this.chance(0.7) ? `,"id":${id}` : ''}${about}${field}}`
  }

  #errorBody(): string {
    const field = (name: string, value: string): string[] =>
      this.chance(0.85) ? [`"${name}":${value}`] : []
    return `{${[
      field('code', this.pick(CODES)),
      field('message', this.chance(0.5) ? '"no"' : this.#value()),
      field('status', this.pick([...NUMBERS, '400', '404', '503', '599', '"404"'])),
      field('retryable', this.pick(['true', 'false', '1', 'null'])),
      field('data', this.#value()),
      field('stack', '"at"'),
    ]
      .flat()
      .join(',')}}`
  }

  #name(): string {
    return this.pick(SPELLINGS)(this.pick(NAMES))
  }

  /** Names that reach a prototype, at any depth, and names that only resemble them. */
  #oddNames(): string {
    let value = this.pick([
      () => this.#value(),
      () => '{"polluted":true}',
      () => `{${this.pick(SPELLINGS)('prototype')}:{"polluted":true}}`,
    ])()
    for (let i = 1 + this.below(4); i > 0; i--) {
      const more = this.chance(0.3) ? `,${this.#name()}:${this.#value()}` : ''
      value = this.chance(0.25) ? `[${value}]` : `{${this.#name()}:${value}${more}}`
    }
    if (this.chance(0.8)) return this.#envelope(this.#type(), this.#mayHave(this.#id()), value)
    return `{"type":${this.#type()},${this.#name()}:${value}}`
  }

  #nested(depth: number): string {
    const array = this.chance(0.5)
    const value = `${(array ? '[' : '{"a":').repeat(depth)}1${(array ? ']' : '}').repeat(depth)}`
    if (this.chance(0.2)) return `{"type":"${'[{'.repeat(40)}","data":${value}}`
    const field = this.pick(['data', 'data', 'data', 'error', 'trace'])
    return `{"type":${this.#type()},"id":${this.#id()},"${field}":${value}}`
  }

  #twice(): string {
    const first = this.#envelope(this.#type(), this.#id(), this.#value()).slice(0, -1)
    const field = this.pick([
      `"type":${this.#type()}`,
      `"type":${this.#oddType()}`,
      `"id":${this.#id()}`,
      `"id":${this.#oddId()}`,
      `"data":${this.#value()}`,
      `"data":{"__proto__":1},"data":2`,
      '"\\u0069d":5',
    ])
    return `${first},${field}}`
  }

  #manyFields(): string {
    const many = 1 + this.below(1_000)
    const fields = Array.from(
      { length: many },
      (_, i) => `"${this.pick(['a', '', 'type'])}${i}":${i}`,
    )
    return `{${fields.join(',')},"type":${this.#type()},"id":${this.#id()}}`
  }

  #longArray(): string {
    const item = this.pick(['0', '""', '{}', '[]', 'null', '-1e9'])
    const items = Array(10_000).fill(item).join(',')
    return this.#envelope(
      this.#type(),
      this.#id(),
      this.pick([`[${items}]`, `{"text":[${items}]}`]),
    )
  }

  /** A message of this many bytes. */
  #sized(bytes: number): string {
    const head = `{"type":${this.#type()},"id":${this.#id()},"data":{"text":"`
    return `${head}${'x'.repeat(Math.max(0, bytes - head.length - 3))}"}}`
  }

  /** Damages a good message. */
  #mutated(): string {
    let message = this.pick([
      () => this.#envelope(this.#type(), this.#id(), this.#fit()),
      () => this.#answer(),
      () => this.#oddNames(),
    ])()
    for (let i = 1 + this.below(3); i > 0; i--) message = this.#damaged(message)
    return message
  }

  #damaged(message: string): string {
    const at = this.below(message.length + 1)
    const before = message.slice(0, at)
    const after = message.slice(at)
    return this.pick([
      () => before,
      () => after,
      () => before + after.slice(1),
      () => before + String.fromCharCode(this.below(128)) + after.slice(1),
      () => before + this.pick(['"', '\\', '{', '}', '[', ',', ':', '\u0000', '\ufeff']) + after,
      () => before + message.slice(this.below(message.length)) + after,
      () => message.replace(/"id":\d+/, () => `"id":${this.#oddId()}`),
      () => message.replace(/"type":"/, () => `"type":${this.#value()},"`),
      () => message.replaceAll('"', "'"),
      () => `${message}${message}`,
      () => JSON.stringify(message),
    ])()
  }

  #binary(): HostileMessage {
    const data = this.chance(0.5)
      ? Buffer.from(this.#envelope(this.#type(), this.#id(), this.#fit()))
      : Buffer.from(Array.from({ length: this.below(64) }, () => this.below(256)))
    return { data, binary: true, ends: false }
  }

  #noUtf8(): HostileMessage {
    return { data: Buffer.from(this.pick(NO_UTF8), 'hex'), binary: false, ends: true }
  }
}

function text(data: string): HostileMessage {
  // Lone surrogates become U+FFFD here, so that the message arrives as it was generated.
  return { data: Buffer.from(data).toString(), binary: false, ends: false }
}
