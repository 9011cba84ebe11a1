import { expect } from 'chai'
import { z } from 'zod'
import {
  type AsyncApiDocument,
  type AsyncApiOptions,
  asyncapi,
  type ContractFinding,
  checkContract,
} from '../../lib/asyncapi/index.ts'
import { type ProtocolDefinition, protocol, type StandardSchema } from '../../lib/index.ts'

const SERVERS = { production: 'wss://chat.example.com' }

function documentOf(
  definition: ProtocolDefinition,
  options: Partial<AsyncApiOptions> = {},
): AsyncApiDocument {
  const info = { title: 'Chat', version: '1.0.0' }
  return asyncapi(protocol(definition), { info, servers: SERVERS, ...options })
}

/** Returns `pointer: message` for each finding. */
function lines(found: readonly ContractFinding[]): string[] {
  return found.map(({ kind, type, pointer, message }) => {
    const subject = type === undefined ? '' : `${type}: `
    return `${kind === 'unknown' ? 'unknown ' : ''}${pointer} ${subject}${message}`
  })
}

const between = (before: ProtocolDefinition, after: ProtocolDefinition): string[] =>
  lines(checkContract(documentOf(before), documentOf(after)))

const input = (before: StandardSchema, after: StandardSchema): string[] =>
  between({ say: { data: before } }, { say: { data: after } })
const output = (before: StandardSchema, after: StandardSchema): string[] =>
  between({ said: { push: before } }, { said: { push: after } })

const DATA = '/components/schemas/say.data'
const PUSH = '/components/schemas/said.push'

const a = z.object({ a: z.string() })
const ab = z.object({ a: z.string(), b: z.string() })
const aMaybeB = z.object({ a: z.string(), b: z.string().optional() })

describe('checkContract()', () => {
  it('finds nothing between equal documents', () => {
    const definition = {
      say: { data: ab, reply: ab },
      said: { push: ab },
      confirm: { push: ab, reply: z.boolean() },
    }
    expect(between(definition, definition)).to.deep.equal([])
  })

  describe('in streams and uploads', () => {
    const plain = { ask: { data: a, reply: a } }
    const stream = { ask: { data: a, reply: a, stream: a } }
    const upload = { ask: { data: a, reply: a, upload: a } }

    it('finds nothing between equal types, and when a type with items is new', () => {
      const both = { ask: { data: a, stream: ab, upload: ab } }
      expect(between(both, both)).to.deep.equal([])
      expect(between({}, both)).to.deep.equal([])
      expect(between(stream, { ...stream, put: { upload: a } })).to.deep.equal([])
    })

    it('finds other items', () => {
      expect(between({ ask: { stream: ab } }, { ask: { stream: a } })).to.deep.equal([
        '/components/schemas/ask.stream ask: The server no longer always sends the field "b".',
        '/components/schemas/ask.stream ask: The server no longer sends the field "b".',
      ])
      expect(between({ ask: { stream: a } }, { ask: { stream: ab } })).to.deep.equal([])
      expect(between({ ask: { upload: a } }, { ask: { upload: ab } })).to.deep.equal([
        '/components/schemas/ask.upload ask: Clients must now send the field "b".',
      ])
      expect(between({ ask: { upload: ab } }, { ask: { upload: a } })).to.deep.equal([])
    })

    it('finds a stream or an upload that a type gets or loses', () => {
      expect(between(plain, stream)).to.deep.include.members([
        '/components/messages/ask/payload ask: Clients must now send the field "credit".',
      ])
      expect(between(plain, upload)).to.deep.include.members([
        '/components/messages/ask/payload ask: Clients must now send the field "upload".',
      ])
      expect(between(stream, plain)).to.deep.equal([
        '/operations/ask ask: The server no longer sends items.',
      ])
      expect(between(upload, plain)).to.deep.equal([
        '/operations/ask ask: Clients may no longer send the message "koaws:item".',
      ])
      expect(between({ ...stream, put: { upload: a } }, stream)).to.deep.equal([
        '/operations/put put: The type was removed: the server no longer accepts it.',
      ])
    })
  })

  describe('in what clients send', () => {
    it('finds a new required field, but not a new optional or a removed field', () => {
      expect(input(a, ab)).to.deep.equal([`${DATA} say: Clients must now send the field "b".`])
      expect(input(aMaybeB, ab)).to.deep.equal([
        `${DATA} say: Clients must now send the field "b".`,
      ])
      for (const [before, after] of [
        [a, aMaybeB],
        [ab, aMaybeB],
        [ab, a],
        [ab, z.looseObject({ a: z.string() })],
      ] as const)
        expect(input(before, after)).to.deep.equal([])
    })

    it('finds a field that a strict object no longer allows', () => {
      expect(input(ab, z.strictObject({ a: z.string() }))).to.deep.equal([
        `${DATA} say: Clients may no longer send the field "b", which is no longer allowed.`,
      ])
      expect(
        input(z.looseObject({ a: z.string() }), z.strictObject({ a: z.string() })),
      ).to.deep.equal([`${DATA} say: Clients may no longer send fields with any name.`])
    })

    it('finds a narrower type, enum, union and limit, but not a wider one', () => {
      const changes: [before: StandardSchema, after: StandardSchema, string][] = [
        [z.string().nullable(), z.string(), 'Clients may no longer send null.'],
        [
          z.number().min(0).max(9),
          z.int().min(0).max(9),
          'Clients may no longer send a number with a fraction.',
        ],
        [z.enum(['a', 'b']), z.enum(['a']), 'Clients may no longer send "b".'],
        [z.string(), z.enum(['a']), 'Clients may send only "a" now.'],
        [
          z.union([z.string(), z.boolean()]),
          z.string(),
          'Clients may no longer send true or false.',
        ],
        [
          z.string().max(9),
          z.string().max(5),
          'Clients must keep a narrower limit: maxLength is 5 now, and was 9.',
        ],
        [
          z.string(),
          z.string().max(5),
          'Clients must keep a narrower limit: maxLength is 5 now, and was not set.',
        ],
        [
          z.number().min(1).max(9),
          z.number().min(2).max(9),
          'Clients must keep a narrower limit: minimum is 2 now, and was 1.',
        ],
      ]
      for (const [before, after, message] of changes) {
        expect(input(before, after)).to.deep.equal([`${DATA} say: ${message}`])
        expect(input(after, before)).to.deep.equal([])
      }
    })

    it('points to the field, also inside of lists', () => {
      const list = (inner: StandardSchema): StandardSchema =>
        z.object({ list: z.array(z.object({ 'a/b': inner as z.ZodType })) })
      expect(input(list(z.string()), list(z.number()))).to.deep.equal([
        `${DATA}/properties/list/items/properties/a~1b say: Clients may no longer send a string.`,
      ])
    })

    it('finds data that are needed now', () => {
      expect(input(z.string().optional(), z.string())).to.deep.equal([
        '/components/messages/say/payload say: Clients must now send the field "data".',
      ])
      expect(between({ say: {} }, { say: { data: a } })).to.deep.equal([
        '/components/messages/say/payload say: Clients must now send the field "data".',
      ])
    })

    it('takes recursive types and discriminated unions', () => {
      const tree = (inner: z.ZodType): StandardSchema => {
        const node: z.ZodType = z.object({
          value: inner,
          get next() {
            return node.optional()
          },
        })
        return node
      }
      expect(input(tree(z.int().max(9)), tree(z.number().max(9)))).to.deep.equal([])
      expect(input(tree(z.number()), tree(z.number().min(1)))).to.have.lengthOf(1)
      const kinds = (...names: string[]): StandardSchema =>
        z.discriminatedUnion(
          'kind',
          names.map((name) => z.object({ kind: z.literal(name), [name]: z.string() })) as never,
        )
      expect(input(kinds('x', 'y'), kinds('x', 'y', 'z'))).to.deep.equal([])
      expect(input(kinds('x', 'y', 'z'), kinds('x', 'y'))).to.deep.equal([
        `${DATA} say: Clients may no longer send each form that was allowed: no alternative takes it.`,
      ])
    })

    it('says of a changed pattern, format and unknown keyword that they cannot be judged', () => {
      expect(input(z.string().regex(/^a/), z.string().regex(/^b/))).to.deep.equal([
        `unknown ${DATA} say: The rule "pattern" differs, and cannot be judged: compare the two versions.`,
      ])
      const odd = (schema: object) =>
        documentOf({ say: { data: a } }, { toJsonSchema: () => schema })
      const [one, other] = [{ not: { type: 'null' } }, { not: { type: 'string' } }]
      expect(lines(checkContract(odd(one), odd(one)))).to.deep.equal([])
      expect(new Set(lines(checkContract(odd(one), odd(other))))).to.deep.equal(
        new Set([
          `unknown ${DATA} say: The rule "not" differs, and cannot be judged: compare the two versions.`,
        ]),
      )
      expect(lines(checkContract(odd(one), odd({})))).to.deep.equal([])
    })
  })

  describe('in what the server sends', () => {
    it('finds a field that is gone or no longer sure, but not a new one', () => {
      expect(output(ab, a)).to.deep.equal([
        `${PUSH} said: The server no longer always sends the field "b".`,
        `${PUSH} said: The server no longer sends the field "b".`,
      ])
      expect(output(aMaybeB, a)).to.deep.equal([
        `${PUSH} said: The server no longer sends the field "b".`,
      ])
      expect(output(ab, aMaybeB)).to.deep.equal([
        `${PUSH} said: The server no longer always sends the field "b".`,
      ])
      expect(output(a, ab)).to.deep.equal([])
      expect(output(aMaybeB, ab)).to.deep.equal([])
    })

    it('finds a wider type, enum and limit, but not a narrower one', () => {
      const changes: [before: StandardSchema, after: StandardSchema, string][] = [
        [z.string(), z.string().nullable(), 'The server may now send null.'],
        [
          z.int().min(0).max(9),
          z.number().min(0).max(9),
          'The server may now send a number with a fraction.',
        ],
        [z.enum(['a']), z.enum(['a', 'b']), 'The server may now send "b".'],
        [z.enum(['a']), z.string(), 'The server may now send other values than "a".'],
        [
          z.string().max(5),
          z.string(),
          'The server may exceed the old limit: maxLength is not set now, and was 5.',
        ],
      ]
      for (const [before, after, message] of changes) {
        expect(output(before, after)).to.deep.equal([`${PUSH} said: ${message}`])
        expect(output(after, before)).to.deep.equal([])
      }
    })

    it('takes a new error code as compatible, because clients must accept any', () => {
      const document = documentOf({})
      const text = JSON.stringify(document)
      const older = JSON.parse(text.replaceAll('ERR_KOAWS_RETRY_STORE', 'ERR_KOAWS_OTHER'))
      expect(checkContract(older, document)).to.deep.equal([])
    })
  })

  it('finds a type that is gone or turned around, but not a new one', () => {
    const before = { say: { data: a }, said: { push: a }, turned: {} }
    expect(between(before, { turned: { push: true } })).to.deep.equal([
      '/operations/say say: The type was removed: the server no longer accepts it.',
      '/operations/said said: The type was removed: the server no longer sends it.',
      '/operations/turned turned: The message changed its direction: clients sent it, and receive it now.',
    ])
    expect(between({}, before)).to.deep.equal([])
  })

  it('knows a type by its name, not by the name of its operation', () => {
    const definition = { 'a b': {}, say: { data: a } }
    const renamed = documentOf(definition, { ids: { 'a b': 'first', say: 'second' } })
    expect(checkContract(documentOf(definition), renamed)).to.deep.equal([])
  })

  it('compares replies in the other direction', () => {
    const reply = (schema: StandardSchema): ProtocolDefinition => ({ say: { reply: schema } })
    expect(between(reply(z.string()), reply(z.string().nullable()))).to.deep.equal([
      '/components/schemas/say.reply say: The server may now send null.',
    ])
    const answer = (schema?: StandardSchema): ProtocolDefinition => ({
      confirm: { push: true, reply: schema },
    })
    expect(between(answer(z.string().nullable()), answer(z.string()))).to.deep.equal([
      '/components/schemas/confirm.reply confirm: Clients may no longer send null.',
    ])
    expect(between(answer(), answer(z.boolean()))).to.deep.equal([
      '/operations/confirm/reply confirm: The server now asks for an answer.',
    ])
    expect(between(answer(z.boolean()), answer())).to.deep.equal([])
    expect(between(reply(z.string()), { say: {} })).to.have.lengthOf(1)
  })

  it('compares servers and the ways to authenticate', () => {
    const found = (before: Partial<AsyncApiOptions>, after: Partial<AsyncApiOptions>): string[] =>
      lines(checkContract(documentOf({}, before), documentOf({}, after)))
    const two = { ...SERVERS, test: 'wss://test.example.com' }
    expect(found({ servers: two }, {})).to.deep.equal([
      '/servers/test The server "test" (wss://test.example.com) was removed.',
    ])
    expect(found({}, { servers: two })).to.deep.equal([])
    expect(found({}, { servers: { live: SERVERS.production } })).to.deep.equal([])
    expect(found({}, { servers: { production: 'wss://other.example.com' } })).to.deep.equal([
      '/servers/production The server "production" moved from wss://chat.example.com to wss://other.example.com.',
    ])
    const cookie = { security: [{ in: 'cookie', name: 'sid' }] } as const
    const both = { security: [{ in: 'cookie', name: 'sid' }, { in: 'header' }] } as const
    expect(found({}, cookie)).to.deep.equal([
      '/servers/production/security The server "production" now requires authentication.',
    ])
    expect(found(both, cookie)).to.deep.equal([
      '/servers/production/security The server "production" no longer accepts the authentication "http" ("bearer").',
    ])
    expect(found(cookie, both)).to.deep.equal([])
    expect(found(cookie, {})).to.deep.equal([])
    expect(
      found(cookie, { security: [{ in: 'cookie', name: 'sid', description: 'New words.' }] }),
    ).to.deep.equal([])
  })

  it('compares the address, its parameters and the handshake once', () => {
    const at = (path: string, values?: string[]): AsyncApiDocument =>
      documentOf(
        { say: {}, said: { push: true } },
        { path, ...(values && { parameters: { room: { enum: values } } }) },
      )
    expect(lines(checkContract(at('/a/:room'), at('/b/:room')))).to.deep.equal([
      '/channels/connection/address The address changed from "/a/{room}" to "/b/{room}".',
    ])
    expect(lines(checkContract(at('/:room', ['a', 'b']), at('/:room', ['a'])))).to.deep.equal([
      '/channels/connection/parameters/room The parameter "room" no longer allows "b".',
    ])
    expect(lines(checkContract(at('/:room'), at('/:room', ['a'])))).to.deep.equal([
      '/channels/connection/parameters/room The parameter "room" allows only some values now.',
    ])
    expect(checkContract(at('/:room', ['a']), at('/:room', ['a', 'b']))).to.deep.equal([])
    const ticket = { security: [{ in: 'query', name: 'ticket' }] } as const
    expect(lines(checkContract(documentOf({}), documentOf({}, ticket)))).to.include(
      '/channels/connection/bindings/ws/query In the query of the handshake: Clients must now send the field "ticket".',
    )
  })

  it('reads documents of other tools, and never throws for a broken one', () => {
    const document = (schema: unknown, more: object = {}): object => ({
      asyncapi: '3.0.0',
      info: { title: 'x', version: '1' },
      channels: { c: { address: '/', messages: { m: { name: 'm', payload: schema } } } },
      operations: { o: { action: 'receive', channel: { $ref: '#/channels/c' } } },
      ...more,
    })
    const kinds = (before: object, after: object): string[] =>
      checkContract(before, after).map(({ kind }) => kind)
    expect(kinds(document({ type: 'string' }), document({ type: 'string' }))).to.deep.equal([])
    expect(kinds(document({ type: 'string' }), document({ type: 'number' }))).to.deep.equal([
      'breaking',
    ])
    const multi = (schema: unknown): object =>
      document({ schemaFormat: 'application/schema+json;version=draft-07', schema })
    expect(kinds(multi({ type: 'string' }), multi({ type: 'number' }))).to.deep.equal(['breaking'])
    expect(kinds(document({ type: 'string' }), document('avro'))).to.deep.equal(['unknown'])
    for (const broken of [
      { $ref: '#/nowhere' },
      { $ref: 'other.json' },
      { $ref: '#/channels/c/messages/m/payload' },
      { allOf: [{ $ref: '#/channels/c/messages/m/payload' }, { type: 'string' }] },
      { $ref: '#/%E0%A4%A' },
    ])
      expect(kinds(document({ type: 'string' }), document(broken))).to.not.deep.equal([])
    for (const odd of [
      { channels: [] },
      { operations: 7 },
      { operations: { o: null } },
      { servers: [] },
    ])
      expect(() => checkContract(document({}, odd), document({}, odd))).to.not.throw()
  })

  it('refuses what is not AsyncAPI 3', () => {
    const good = documentOf({})
    for (const bad of [null, 7, [], {}, { asyncapi: '2.6.0' }]) {
      expect(() => checkContract(bad, good)).to.throw(
        TypeError,
        /^The old document is not AsyncAPI 3/,
      )
      expect(() => checkContract(good, bad)).to.throw(
        TypeError,
        /^The new document is not AsyncAPI 3/,
      )
    }
  })
})
