import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { toJsonSchema } from '@valibot/to-json-schema'
import { Ajv, type ValidateFunction } from 'ajv'
import { type } from 'arktype'
import { expect } from 'chai'
import * as v from 'valibot'
import { z } from 'zod'
import {
  type AsyncApiDocument,
  type AsyncApiOptions,
  asyncapi,
  checkContract,
  type SchemaConverter,
} from '../../lib/asyncapi/index.ts'
import {
  errorTable,
  MessageError,
  messages,
  type ProtocolDefinition,
  protocol,
} from '../../lib/index.ts'
import { cleanUp } from '../support/server.ts'
import { ask, hear, serveMessages, speak, type Wire } from '../support/talk.ts'

/** The parts of @asyncapi/parser that these tests use: its types need those of node-fetch. */
interface Parser {
  parse(text: string): Promise<{ diagnostics: { path: (string | number)[]; message: string }[] }>
}
const { Parser }: { Parser: new () => Parser } = createRequire(import.meta.url)('@asyncapi/parser')

const INFO = { title: 'Chat', version: '1.0.0' }

const valibot: SchemaConverter = (schema) =>
  schema['~standard'].vendor === 'valibot'
    ? toJsonSchema(schema as v.GenericSchema, { typeMode: 'input' })
    : undefined

function documentOf(
  definition: ProtocolDefinition,
  options: Partial<AsyncApiOptions> = {},
): AsyncApiDocument {
  return asyncapi(protocol(definition), { info: INFO, ...options })
}

const text = z.object({ text: z.string() })

/** Options that show every part of a document. */
const EVERYTHING: Partial<AsyncApiOptions> = {
  info: {
    ...INFO,
    description: 'A chat.',
    contact: { name: 'Chat', url: 'https://chat.example.com' },
    license: { name: 'MIT' },
  },
  servers: {
    production: 'wss://chat.example.com/base/',
    local: { host: 'localhost:3000', protocol: 'ws', description: 'A developer.' },
  },
  path: '/rooms/:room/socket',
  parameters: { room: { description: 'The room.', examples: ['lobby'] } },
  security: [
    { in: 'cookie', name: 'sid' },
    { in: 'cookie', name: 'old-sid', description: 'Until 2.0.' },
    { in: 'query', name: 'ticket' },
    { in: 'header' },
    { in: 'subprotocol' },
    { in: 'message' },
  ],
  refresh: true,
  history: true,
  presence: true,
  toJsonSchema: valibot,
}

const Comment = z.object({
  text: z.string(),
  get answers() {
    return z.array(Comment)
  },
})

const PROTOCOLS: Record<string, ProtocolDefinition> = {
  'without types': {},
  'of zod': {
    say: { data: z.object({ text: z.string().max(5) }), reply: z.object({ heard: z.int() }) },
    said: { push: z.object({ text: z.string(), at: z.date(), to: z.string().nullable() }) },
    union: {
      push: z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('a'), n: z.number() }),
        z.object({ kind: z.literal('b'), s: z.tuple([z.string(), z.number()]) }),
      ]),
    },
    tree: { data: Comment, reply: Comment },
    named: { data: z.object({ who: z.string().meta({ id: 'Odd name/~1%' }) }) },
    record: { data: z.record(z.string(), z.number()), reply: z.void() },
  },
  'of valibot': {
    rate: {
      data: v.object({ stars: v.pipe(v.number(), v.maxValue(5)), note: v.optional(v.string()) }),
      reply: v.nullable(v.string()),
    },
    rated: { push: v.variant('kind', [v.object({ kind: v.literal('a') })]) },
  },
  'of arktype': {
    tag: {
      data: type({ name: 'string <= 20', 'color?': '"red" | "blue"' }),
      reply: type('number'),
    },
    tagged: { push: type({ names: 'string[]', at: 'Date' }) },
    tree: { push: type.module({ node: { name: 'string', 'next?': 'node' } }).node },
  },
  'with requests and pushes of both sides': {
    ask: { data: text, reply: text },
    tell: { data: text },
    bare: {},
    confirm: { push: text, reply: z.boolean() },
    told: { push: text },
    bell: { push: true },
    wake: { push: true, reply: z.boolean() },
  },
  'with streams': {
    ask: { data: text, stream: text, reply: z.number() },
    lines: { stream: z.string().optional() },
    put: { upload: z.string(), reply: z.number() },
    both: { data: text, stream: text, upload: text, reply: text },
  },
  'with odd names': Object.fromEntries(
    [
      'a/b',
      'a~b',
      'a b',
      'a-b',
      '1',
      'ü€😀',
      '{x}',
      '#',
      '$ref',
      '__proto__',
      'constructor',
      'toString',
      'say.reply',
      'say',
      'koaws_reply',
      'koaws_error',
      '"quoted"',
      'a\nb',
      '%2F',
    ].map((name, i) => [name, i % 2 ? { push: text } : { data: text, reply: text }]),
  ),
}

describe('asyncapi()', () => {
  afterEach(cleanUp)

  describe('gives a document without a diagnostic of @asyncapi/parser', () => {
    let parser: Parser
    before(function () {
      this.timeout(120_000)
      parser = new Parser()
    })
    const diagnose = async (document: AsyncApiDocument): Promise<string[]> => {
      const { diagnostics } = await parser.parse(JSON.stringify(document))
      return diagnostics.map(({ path, message }) => `${path.join('/')}: ${message}`)
    }

    for (const [name, definition] of Object.entries(PROTOCOLS)) {
      it(`for a protocol ${name}`, async () => {
        expect(await diagnose(documentOf(definition, { toJsonSchema: valibot }))).to.deep.equal([])
        expect(await diagnose(documentOf(definition, EVERYTHING))).to.deep.equal([])
      }).timeout(120_000)
    }

    it('for the protocol of the example chat', async () => {
      const { chatProtocol } = await import(
        new URL('../../examples/chat/chat.protocol.mjs', import.meta.url).href
      )
      const document = asyncapi(chatProtocol, {
        info: INFO,
        servers: { local: 'ws://localhost:3000' },
        path: '/chat/:room',
        security: [{ in: 'cookie', name: 'koa.sess' }],
      })
      expect(await diagnose(document)).to.deep.equal([])
    }).timeout(120_000)

    it('and the parser finds a broken one', async () => {
      const document = { ...documentOf({}), operations: { x: { action: 'listen' } } }
      const { diagnostics } = await parser.parse(JSON.stringify(document))
      expect(diagnostics).to.not.deep.equal([])
    }).timeout(120_000)
  })

  it('shows the items of a request beside its message and its answers', () => {
    const { operations } = documentOf(PROTOCOLS['with streams'] ?? {})
    const names = (list: readonly { $ref: string }[] = []): string[] =>
      list.map(({ $ref }) => $ref.replace('#/channels/connection/messages/', ''))
    const shown = Object.entries(operations).map(([name, { action, messages: sent, reply }]) =>
      [name, action, ...names(sent), ...(reply ? ['|', ...names(reply.messages)] : [])].join(' '),
    )
    expect(shown).to.include.members([
      'ask receive ask | ask.stream ask.reply koaws_error',
      'lines receive lines | lines.stream koaws_reply koaws_error',
      'put receive put put.upload | put.reply koaws_error',
      'both receive both both.upload | both.stream both.reply koaws_error',
      'koaws_credit receive koaws_credit',
      'koaws_cancel receive koaws_cancel',
      'koaws_end receive koaws_end',
      'koaws_grant send koaws_grant',
      'koaws_stop send koaws_stop',
    ])
    expect(Object.keys(documentOf({ say: {} }).operations)).to.not.include('koaws_cancel')
  })

  it('shows each type from the point of view of the server, with its answers', () => {
    const { operations, components } = documentOf(
      PROTOCOLS['with requests and pushes of both sides'] ?? {},
    )
    const names = (list: readonly { $ref: string }[] | undefined): string[] | undefined =>
      list?.map(({ $ref }) => $ref.replace('#/channels/connection/messages/', ''))
    const shown = Object.entries(operations)
      .filter(([name]) => !name.startsWith('koaws_'))
      .map(([name, { action, messages: sent, reply }]) => [
        name,
        action,
        names(sent),
        names(reply?.messages),
      ])
    expect(shown).to.deep.equal([
      ['ask', 'receive', ['ask'], ['ask.reply', 'koaws_error']],
      ['tell', 'receive', ['tell'], ['koaws_reply', 'koaws_error']],
      ['bare', 'receive', ['bare'], ['koaws_reply', 'koaws_error']],
      ['confirm', 'send', ['confirm'], ['confirm.reply', 'koaws_error']],
      ['told', 'send', ['told'], undefined],
      ['bell', 'send', ['bell'], undefined],
      ['wake', 'send', ['wake'], ['wake.reply', 'koaws_error']],
    ])
    expect(components.messages['ask']?.name).to.equal('ask')
    expect(components.messages['ask.reply']?.name).to.equal('koaws:reply')
    expect(components.schemas['ask.data']).to.deep.equal({
      type: 'object',
      properties: { text: { type: 'string' } },
      required: ['text'],
    })
  })

  it('needs data where the schema does not allow undefined', () => {
    const { components } = documentOf({
      needed: { data: z.string() },
      free: { data: z.string().optional() },
      nothing: { data: z.undefined() },
      empty: { reply: z.void() },
      maybe: { reply: z.string().optional() },
      later: {
        data: z
          .string()
          .optional()
          .refine(async () => true),
      },
    })
    const fields = (name: string): unknown => components.messages[name]?.payload
    expect(fields('needed')).to.deep.include({ required: ['type', 'data'] })
    expect(fields('free')).to.deep.include({ required: ['type'] })
    expect(fields('free')).to.have.nested.property('properties.data')
    expect(fields('nothing')).to.not.have.nested.property('properties.data')
    expect(fields('empty.reply')).to.have.nested.property('properties.data.type', 'null')
    expect(fields('maybe.reply')).to.have.nested.property('properties.data.anyOf')
    expect(fields('later')).to.deep.include({ required: ['type', 'data'] })
  })

  it('gives each type its own name, or that of the option ids', () => {
    const definition = { 'a b': {}, 'a-b': {}, 'a+b': {}, constructor: {}, plain: {} }
    const named = (ids: Record<string, string>): string[] =>
      Object.keys(documentOf(definition, { ids }).operations).filter((one) => !/^koaws_/.test(one))
    expect(named({})).to.deep.equal(['a_b', 'a_b_2', 'a_b_3', 'constructor_', 'plain'])
    expect(named({ 'a b': 'aSpaceB', 'a+b': 'plain' })).to.deep.equal([
      'aSpaceB',
      'a_b',
      'plain',
      'constructor_',
      'plain_2',
    ])
  })

  it('gives all operations names that are identifiers, for code generators', () => {
    const { operations } = documentOf(PROTOCOLS['with odd names'] ?? {}, EVERYTHING)
    const names = Object.keys(operations)
    expect(names).to.have.length.above(30)
    expect(names.filter((name) => !/^[A-Za-z_]\w*$/.test(name))).to.deep.equal([])
  })

  it('turns the operations around for the view of a client, and changes nothing else', () => {
    const definition = PROTOCOLS['with requests and pushes of both sides'] ?? {}
    const [server, client] = [documentOf(definition), documentOf(definition, { view: 'client' })]
    for (const [name, { action }] of Object.entries(server.operations))
      expect(client.operations[name]?.action).to.equal(action === 'send' ? 'receive' : 'send')
    const { operations: _server, ...one } = server
    const { operations: _client, ...other } = client
    expect(other).to.deep.equal(one)
    expect(checkContract(server, client)).to.deep.equal([])
  })

  it('lists the codes of all errors that answer a message', () => {
    const { components } = documentOf({})
    const listed = JSON.stringify(components.schemas['koaws_error'])
    for (const [code, { reply }] of Object.entries(errorTable)) {
      if (reply === null && code !== 'ERR_KOAWS_DRAINING')
        expect(listed).to.not.include(`"${code}"`)
      else expect(listed).to.include(`"${code}"`)
    }
    expect(listed).to.include('"internal"')
  })

  it('shows the ways to authenticate, and the handshake', () => {
    const { servers, channels, components, operations } = documentOf({}, EVERYTHING)
    const schemes = ['cookie', 'cookie_2', 'query', 'header', 'subprotocol', 'message']
    const references = schemes.map((name) => ({ $ref: `#/components/securitySchemes/${name}` }))
    expect(servers).to.deep.equal({
      production: {
        host: 'chat.example.com',
        protocol: 'wss',
        pathname: '/base',
        security: references,
      },
      local: {
        host: 'localhost:3000',
        protocol: 'ws',
        description: 'A developer.',
        security: references,
      },
    })
    expect(Object.keys(components.securitySchemes ?? {})).to.deep.equal(schemes)
    expect(components.securitySchemes).to.deep.include({
      cookie: { type: 'httpApiKey', in: 'cookie', name: 'sid' },
      header: { type: 'http', scheme: 'bearer' },
    })
    expect(channels['connection']).to.deep.include({ address: '/rooms/{room}/socket' })
    expect(channels['connection']).to.have.nested.property('bindings.ws.query.properties.ticket')
    expect(operations).to.include.keys('koaws_auth', 'koaws_authenticate', 'koaws_resume')
    expect(documentOf({}).operations).to.not.have.any.keys('koaws_auth', 'koaws_presence')
    expect(documentOf({}, { refresh: true }).operations).to.include.keys('koaws_auth')
  })

  it('shares equal definitions, and keeps different ones of the same name apart', () => {
    const person = z.object({ name: z.string() }).meta({ id: 'Person' })
    const { components } = documentOf({
      a: { push: z.object({ who: person }) },
      b: { push: z.array(person) },
    })
    const same = Object.keys(components.schemas).filter((name) => name.startsWith('Person'))
    expect(same).to.deep.equal(['Person'])
    const other =
      (schema: object): SchemaConverter =>
      () => ({
        $ref: '#/definitions/Person',
        definitions: { Person: schema },
      })
    let n = 0
    const apart = documentOf(
      { a: { push: z.string() }, b: { push: z.string() } },
      {
        toJsonSchema: (schema, place) =>
          other({ type: n++ === 0 ? 'string' : 'number' })(schema, place),
      },
    )
    expect(apart.components.schemas).to.deep.include({
      'a.push': { $ref: '#/components/schemas/Person' },
      'b.push': { $ref: '#/components/schemas/Person_2' },
      Person: { type: 'string' },
      Person_2: { type: 'number' },
    })
  })

  it('is plain JSON, and leaves the given objects as they are', () => {
    const info = { ...INFO, contact: { name: 'Ann' } }
    const document = documentOf(PROTOCOLS['of zod'] ?? {}, { ...EVERYTHING, info })
    expect(JSON.parse(JSON.stringify(document))).to.deep.equal(document)
    expect(info).to.deep.equal({ ...INFO, contact: { name: 'Ann' } })
  })

  describe('never shows a secret', () => {
    const SECRET = 'hunter2'

    it('that is the default of a schema, unless defaults is true', () => {
      const definition = {
        zod: {
          data: z.object({
            key: z.string().default(SECRET),
            in: z.array(z.string().default(SECRET)),
          }),
          reply: z.string().default(SECRET).optional(),
        },
        prefault: { data: z.object({ key: z.string().prefault(SECRET) }) },
        named: { push: z.object({ who: z.string().default(SECRET).meta({ id: 'Who' }) }) },
        ark: { data: type({ key: `string = "${SECRET}"` }) },
        valibot: { data: v.object({ key: v.optional(v.string(), SECRET) }) },
      }
      const shown = (options: Partial<AsyncApiOptions>): string =>
        JSON.stringify(documentOf(definition, { toJsonSchema: valibot, ...options }))
      expect(shown({})).to.not.include(SECRET)
      expect(shown({ defaults: false })).to.not.include(SECRET)
      expect(shown({ defaults: true }).split(SECRET)).to.have.length.above(5)
    })

    it('of a server or a way to authenticate: it refuses them, without a copy in the error', () => {
      const refused: Record<string, unknown>[] = [
        { servers: { production: `wss://ann:${SECRET}@chat.example.com` } },
        { servers: { production: `wss://chat.example.com?token=${SECRET}` } },
        { servers: { production: `wss://chat.example.com#${SECRET}` } },
        { servers: { production: `http://ann:${SECRET}@chat.example.com` } },
        { servers: { production: `not a URL with ${SECRET}` } },
        { servers: { production: { host: `ann:${SECRET}@chat.example.com`, protocol: 'wss' } } },
        {
          servers: { production: 'wss://chat.example.com' },
          security: [{ in: 'cookie', name: 'sid', value: SECRET }],
        },
        {
          servers: { production: 'wss://chat.example.com' },
          security: [{ in: 'header', token: SECRET }],
        },
      ]
      for (const options of refused) {
        expect(() => documentOf({}, options), JSON.stringify(options))
          .to.throw()
          .with.property('message')
          .that.does.not.include(SECRET)
      }
    })
  })

  describe('has payloads that', () => {
    /** Returns a validator for each message of a document, by action and type. */
    function validators(
      document: AsyncApiDocument,
    ): (action: string, type: string) => ValidateFunction[] {
      const ajv = new Ajv({ strict: false, validateFormats: false })
      ajv.addSchema({ $id: 'document', ...document })
      const at = ($ref: string): ValidateFunction => {
        const name = $ref.split('/').at(-1)
        return ajv.compile({ $ref: `document#/components/messages/${name}/payload` })
      }
      const nameOf = ($ref: string): string | undefined =>
        document.components.messages[decodeURIComponent($ref.split('/').at(-1) ?? '')]?.name
      const opposite = { send: 'receive', receive: 'send' }
      return (action, wanted) =>
        Object.values(document.operations).flatMap((one) =>
          [
            ...(one.action === action ? one.messages : []),
            ...(opposite[one.action] === action ? (one.reply?.messages ?? []) : []),
          ].flatMap(({ $ref }) => (nameOf($ref) === wanted ? [at($ref)] : [])),
        )
    }

    it('allow each message of the test vectors', () => {
      const any = { data: z.any(), reply: z.any() }
      const answered = { push: z.any(), reply: z.any() }
      const find = validators(documentOf({ say: any, confirm: answered }, EVERYTHING))
      const { vectors, welcome } = JSON.parse(readFileSync('docs/protocol-vectors.json', 'utf8'))
      const seen = new Set<string>()
      let strict = true // the vectors for clients alone have messages that a client must ignore
      const check = (action: 'send' | 'receive', message: Wire): void => {
        const own = typeof message.type === 'string' && message.type.startsWith('koaws:')
        if (!own) return
        const list = find(action, message.type)
        if (list.length === 0) return
        const valid = list.some((validate) => validate(message))
        if (valid) seen.add(`${action} ${message.type}`)
        else if (strict) throw new Error(`not allowed: ${JSON.stringify(message)}`)
      }
      check('send', filled(welcome) as Wire)
      for (const { steps, for: sides } of vectors) {
        strict = sides.includes('server')
        for (const step of steps) {
          const [server, client] = [filled(step.server), filled(step.client)] as (
            | Wire
            | undefined
          )[]
          if (server) check('send', server)
          // Other messages of clients may be wrong on purpose.
          if (client?.type === 'koaws:reply' && client.id !== undefined) check('receive', client)
          if (client?.type === 'koaws:ping' && client.id !== undefined) check('receive', client)
        }
      }
      expect([...seen]).to.include.members([
        'send koaws:welcome',
        'send koaws:bye',
        'send koaws:reply',
        'send koaws:error',
        'send koaws:position',
        'send koaws:recovered',
        'send koaws:at',
        'send koaws:left',
        'send koaws:authenticate',
        'receive koaws:reply',
        'receive koaws:ping',
      ])
    })

    it('allow the messages of streams', () => {
      const find = validators(documentOf(PROTOCOLS['with streams'] ?? {}))
      const allows = (action: 'send' | 'receive', message: { type: string }): boolean =>
        find(action, message.type).some((validate) => validate(message))
      const ask = { type: 'ask', id: 1, credit: 65_536, data: { text: 'hi' } }
      expect(allows('receive', ask)).to.equal(true)
      const again = { ...ask, again: true, key: 'x'.repeat(16), since: 0 }
      expect(allows('receive', again)).to.equal(true)
      const without = { ...ask, credit: 0 }
      expect(allows('receive', without)).to.equal(false)
      const bare = [
        { type: 'ask', id: 1, data: { text: 'hi' } },
        { type: 'put', id: 1 },
      ]
      for (const message of bare) expect(allows('receive', message)).to.equal(false)
      const put = { type: 'put', id: 1, upload: true }
      expect(allows('receive', put)).to.equal(true)
      const item = (data: unknown) => ({ type: 'koaws:item', id: 1, data })
      for (const data of [{ text: 'hi' }, null, 'a line'])
        expect(allows('send', item(data)), String(data)).to.equal(true)
      expect(allows('send', item(7))).to.equal(false)
      expect(allows('receive', item('a part'))).to.equal(true)
      expect(allows('receive', item(null))).to.equal(false)
      const part = (type: string, data?: object) => ({ type, id: 1, ...(data && { data }) })
      for (const action of ['send', 'receive'] as const) {
        expect(allows(action, part('koaws:credit', { bytes: 1 }))).to.equal(true)
        expect(allows(action, part('koaws:cancel'))).to.equal(true)
        expect(allows(action, part('koaws:end'))).to.equal(action === 'receive')
      }
    })

    it('allow what a server sends, and what it accepts', async () => {
      const definition = protocol({
        say: { data: z.object({ text: z.string() }), reply: z.object({ at: z.date() }) },
        fail: {},
        said: { push: z.object({ text: z.string(), at: z.date() }) },
        confirm: { push: z.string(), reply: z.boolean() },
      })
      const chat = messages(definition)
        .on('say', ({ data, connection }) => {
          connection.push('said', { text: data.text, at: new Date(0) })
          return { at: new Date(0) }
        })
        .on('fail', () => {
          throw new MessageError(403, 'No', { code: 'mine', data: [1] })
        })
      chat.onOpen(async (connection) => {
        void connection.request('confirm', 'Sure?')
      })
      const { port } = await serveMessages(chat)
      const find = validators(asyncapi(definition, { info: INFO }))
      const allows = (action: string, message: Wire): boolean =>
        find(action, message.type).some((validate) => validate(message))
      const socket = await speak(port)
      const say: Wire = { type: 'say', id: 1, data: { text: 'hi' } }
      expect(allows('receive', say)).to.equal(true)
      expect(allows('receive', { ...say, data: {} })).to.equal(false)
      expect(allows('receive', { ...say, id: 0 })).to.equal(false)
      const heard: Wire[] = [await hear(socket), await hear(socket)]
      for (const message of [
        say,
        { type: 'fail', id: 2 },
        { type: 'say', id: 3 },
        { type: 'none', id: 4 },
      ])
        socket.send(JSON.stringify(message))
      for (let i = 0; i < 5; i++) heard.push(await hear(socket))
      expect(heard.map((one) => one.type)).to.deep.equal([
        'koaws:welcome',
        'confirm',
        'said',
        'koaws:reply',
        'koaws:error',
        'koaws:error',
        'koaws:error',
      ])
      for (const message of heard)
        expect(allows('send', message), JSON.stringify(message)).to.equal(true)
      expect(allows('receive', { type: 'koaws:reply', id: 1, data: true })).to.equal(true)
      expect((await ask(socket, 'say', { text: 'x' })).type).to.match(/said|koaws:reply/)
    })
  })
})

/** Returns a message of the vectors with a value in place of each placeholder. */
function filled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(filled)
  if (typeof value !== 'object' || value === null) return value
  const [[name, inner] = ['', null], ...rest] = Object.entries(value)
  if (rest.length === 0 || name === '$maybe') {
    if (name === '$id') return 1
    if (name === '$like' || name === '$maybe') return filled(inner)
    if (name === '$now') return 1_767_225_600_000
  }
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one)]))
}
