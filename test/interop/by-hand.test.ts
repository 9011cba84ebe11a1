// Both columns of the table "What goes wrong by hand" in docs/guides/from-ws.md, row by row, with
// the two chats of that page.
import { execFile } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { accept } from '../../lib/index.ts'
import { RejectedError, type TestSocket } from '../../lib/testing/index.ts'
import { frame, handshake, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred, openSocket, rejected, serve } from '../support/server.ts'
import {
  type ChatProcess,
  cookieOf,
  endChats,
  enter,
  SECRET,
  sign,
  startChat,
  tokenOf,
} from './support/chat-process.ts'
import { GUIDE, guideFiles, install, ROOT, writeGuide } from './support/from-ws-guide.ts'

const UPGRADE = fileURLToPath(new URL('support/by-hand-upgrade.mjs', import.meta.url))

/** The folder with the files of the guide. */
let folder: string

const byHand = (file = join(folder, 'old/server.mjs')): Promise<ChatProcess> => startChat(file)

/** Expects an uncaught error to end the process, and with it the connections of all clients. */
async function expectEnd(chat: ChatProcess, bystander: TestSocket, error: RegExp): Promise<void> {
  expect(await chat.ended).to.equal(1)
  expect(chat.output).to.match(error)
  expect((await bystander.closed).code).to.equal(1006)
}

/** Expects that a client receives its own next message before any other. */
async function expectNothing(client: TestSocket, user: string, room = 'lobby'): Promise<void> {
  client.json({ type: 'chat', room, text: 'nothing came before this' })
  const next = { type: 'chat', room, from: user, text: 'nothing came before this' }
  expect(await client.nextJson()).to.deep.equal(next)
}

// ---- What clients do

const ends =
  (text: string, error: RegExp) =>
  async (chat: ChatProcess): Promise<void> => {
    const bystander = await chat.join('bob')
    const client = await openSocket(chat.port, '/chat', { headers: cookieOf('ann') })
    client.send(text)
    await expectEnd(chat, bystander, error)
  }

const closes =
  (text: string, code: number) =>
  async (chat: ChatProcess): Promise<void> => {
    const client = await openSocket(chat.port, '/chat', { headers: cookieOf('ann') })
    client.send(text)
    expect((await client.closed).code).to.equal(code)
  }

/**
 * Targets and hosts that are invalid in a URL, and the answers of koaws: without a token, and with
 * one.
 */
const badTargets: [path: string, headers: Record<string, string>, answers: [number, number]][] = [
  ['//', {}, [401, 404]],
  ['//[', {}, [401, 404]],
  ['http:///', {}, [401, 404]],
  ['/chat', { Host: '[' }, [400, 400]],
]

/** Frames that RFC 6455 forbids, and the close code of koaws. */
const brokenFrames: Record<string, [frame: Buffer, code: number]> = {
  'a reserved bit': [Buffer.from([0xf1, 0x80, 1, 2, 3, 4]), 1002],
  'no mask': [Buffer.from([0x81, 0x01, 0x61]), 1002],
  'an unknown opcode': [frame(3, ''), 1002],
  'a close with 1005': [frame(8, Buffer.from([0x03, 0xed])), 1002],
  'a ping of 126 bytes': [frame(9, 'x'.repeat(126)), 1002],
  'no UTF-8': [frame(1, Buffer.from([0xff])), 1007],
  'a length of 192 MiB': [Buffer.from([0x82, 0xff, 0, 0, 0, 0, 12, 0, 0, 0, 1, 2, 3, 4]), 1009],
}

/** The tokens of clients without a login. */
const forgeries = (): Record<string, string> => ({
  'of another secret': sign({}, 'another secret', { subject: 'root' }),
  'without a signature': sign({}, '', { subject: 'root', algorithm: 'none' }),
  expired: tokenOf('root', -1),
  none: '',
})

/** Opens two tabs of one user, and one of another user. */
async function tabs(chat: ChatProcess): Promise<Record<'one' | 'two' | 'bob', TestSocket>> {
  const one = await chat.join('ann')
  return { one, two: await chat.join('ann'), bob: await chat.join('bob') }
}

/** The handshake and two messages in one write. */
const forgedHandshake = (token: string): Buffer =>
  Buffer.concat([
    Buffer.from(handshake(`/chat?token=${token}`)),
    textFrame('{"type":"auth","userId":"root"}'),
    textFrame('{"type":"chat","room":"lobby","text":"with the handshake"}'),
  ])

/**
 * Opens connections with a token that expires soon. On a slow machine it retries with a longer
 * lifetime.
 */
async function untilItIsOpen<T>(open: (token: string) => Promise<T>): Promise<T> {
  for (let life = 2; life <= 64; life *= 2) {
    const token = tokenOf('ann', life)
    const end = Date.now() + (life - 1) * 1_000
    const opened = await open(token).catch((error) => {
      if (error instanceof RejectedError) return null
      throw error
    })
    if (opened !== null && Date.now() < end) return opened
  }
  throw new Error('every token expired before the connections were open')
}

const openWith = (chat: ChatProcess, token: string): Promise<TestSocket> =>
  openSocket(chat.port, `/chat?token=${token}`)

type Check = (chat: ChatProcess, koaws: ChatProcess) => Promise<void>
interface Row {
  /** The hand-written server. @default old/server.mjs of the guide */
  server?: string
  byHand: [does: string, check: Check]
  koaws: [does: string, check: Check]
}

const rows: Record<string, Row> = {
  'sends text that is not JSON': {
    byHand: [
      '`JSON.parse` throws in the listener and ends the process',
      ends('hello', /SyntaxError/),
    ],
    koaws: ['closes this connection with 1011', closes('hello', 1011)],
  },

  'sends `null`': {
    byHand: ['reading `.type` throws and ends the process', ends('null', /TypeError.* null/)],
    koaws: ['closes this connection with 1011', closes('null', 1011)],
  },

  'names a room that does not exist': {
    byHand: [
      'iterating over `undefined` ends the process',
      ends('{"type":"chat","room":"nowhere"}', /TypeError.*not iterable/),
    ],
    koaws: [
      'sends to no connection',
      async (chat) => {
        const client = await chat.join('ann')
        client.json({ type: 'chat', room: 'nowhere', text: 'hi' })
        await expectNothing(client, 'ann')
      },
    ],
  },

  'sends what an async listener rejects': {
    server: UPGRADE,
    byHand: [
      'the unhandled rejection ends the process',
      async (chat) => {
        const headers = { authorization: 'ann' }
        const [client, bystander] = [
          await openSocket(chat.port, '/', { headers }),
          await openSocket(chat.port, '/', { headers }),
        ]
        client.send('no such post')
        await expectEnd(chat, bystander, /Error: No such post/)
      },
    ],
    koaws: [
      'closes this connection with 1011',
      async () => {
        const { port, errors } = await serve((app) => {
          app.use(
            accept((connection) => {
              connection.on('message', async (data) => {
                if (data.toString() !== '1') throw new Error('No such post')
                connection.json({ id: 1 })
              })
            }),
          )
        })
        const [client, bystander] = [await openSocket(port), await openSocket(port)]
        client.send('no such post')
        expect((await client.closed).code).to.equal(1011)
        expect(errors.map(({ error }) => error.message)).to.deep.equal(['No such post'])
        bystander.send('1')
        expect(await bystander.nextJson()).to.deep.equal({ id: 1 })
      },
    ],
  },

  'asks for `//`, or sends `Host: [`': {
    byHand: [
      '`new URL()` throws and ends the process',
      async () => {
        for (const [path, headers] of badTargets) {
          const chat = await byHand()
          const bystander = await chat.join('bob')
          const client = await rawClient(chat.port)
          client.write(handshake(path, headers))
          await expectEnd(chat, bystander, /TypeError: Invalid URL/)
        }
      },
    ],
    koaws: [
      'answers 401, 404 or 400',
      async (chat) => {
        for (const [path, headers, answers] of badTargets) {
          for (const [index, more] of [{}, { Cookie: `token=${tokenOf('ann')}` }].entries()) {
            const client = await rawClient(chat.port)
            client.write(handshake(path, { ...headers, ...more }))
            expect((await client.answer()).status, path).to.equal(answers[index])
            await client.end()
          }
        }
      },
    ],
  },

  'sends the cookie `token=%`': {
    byHand: [
      '`decodeURIComponent` throws and ends the process',
      async (chat) => {
        const bystander = await chat.join('bob')
        const client = await rawClient(chat.port)
        client.write(handshake('/chat', { Cookie: 'token=%' }))
        await expectEnd(chat, bystander, /URIError/)
      },
    ],
    koaws: [
      'answers 401',
      async (chat) => {
        const headers = { cookie: 'token=%' }
        const { status } = await rejected(openSocket(chat.port, '/chat', { headers }))
        expect(status).to.equal(401)
      },
    ],
  },

  'sends a broken frame': {
    byHand: [
      'ends the process, because the WebSocket has no `error` listener',
      async () => {
        for (const [what, [bytes]] of Object.entries(brokenFrames)) {
          const chat = await byHand()
          const bystander = await chat.join('bob')
          const client = await rawClient(chat.port)
          client.write(handshake('/chat', { Cookie: `token=${tokenOf('ann')}` }))
          expect((await client.answer()).status, what).to.equal(101)
          client.write(bytes)
          await expectEnd(chat, bystander, /Unhandled 'error' event/)
        }
      },
    ],
    koaws: [
      'closes this connection with 1002, 1007 or 1009',
      async (chat) => {
        for (const [what, [bytes, code]] of Object.entries(brokenFrames)) {
          const client = await rawClient(chat.port)
          client.write(handshake('/chat', { Cookie: `token=${tokenOf('ann')}` }))
          expect((await client.answer()).status, what).to.equal(101)
          client.write(bytes)
          expect(await client.closeCode(), what).to.equal(code)
        }
      },
    ],
  },

  'resets its connection while the login is looked up': {
    server: UPGRADE,
    byHand: [
      'ends the process, because the socket has no `error` listener',
      async (chat) => {
        const bystander = await openSocket(chat.port, '/', { headers: { authorization: 'bob' } })
        const client = await rawClient(chat.port)
        client.write(handshake('/', { Authorization: 'slow' }))
        await chat.printed('asked for slow')
        client.reset()
        await expectEnd(chat, bystander, /ECONNRESET/)
      },
    ],
    koaws: [
      'ends the upgrade; `ctx.ws.signal` is aborted',
      async () => {
        const [asked, aborted] = [deferred(), deferred()]
        const { port } = await serve((app) => {
          app.use(async (ctx, next) => {
            if (ctx.get('authorization') === 'slow') {
              ctx.ws?.signal.addEventListener('abort', () => aborted.resolve())
              asked.resolve()
              await aborted.promise
            }
            await next()
          })
          app.use(accept((connection) => connection.send('in')))
        })
        const client = await rawClient(port)
        client.write(handshake('/', { Authorization: 'slow' }))
        await asked.promise
        client.reset()
        await aborted.promise
        expect(await (await openSocket(port)).next()).to.equal('in')
      },
    ],
  },

  'sends messages with a forged token': {
    byHand: [
      'handles them before and after the close with 1008',
      async (chat) => {
        const bystander = await chat.join('bob')
        for (const [what, token] of Object.entries(forgeries())) {
          const client = await rawClient(chat.port)
          client.write(forgedHandshake(token))
          expect((await client.answer()).status, what).to.equal(101)
          expect(await client.closeCode(), what).to.equal(1008)
          const said = { type: 'chat', room: 'lobby', from: 'root' }
          expect(await bystander.nextJson()).to.deep.equal({ ...said, text: 'with the handshake' })
          client.write(textFrame('{"type":"chat","room":"lobby","text":"after the close"}'))
          expect(await bystander.nextJson()).to.deep.equal({ ...said, text: 'after the close' })
        }
      },
    ],
    koaws: [
      'answers 401 and reads no message',
      async (chat) => {
        const bystander = await chat.join('bob')
        for (const [what, token] of Object.entries(forgeries())) {
          const client = await rawClient(chat.port)
          client.write(forgedHandshake(token))
          expect((await client.answer()).status, what).to.equal(401)
          await client.end()
          await expectNothing(bystander, 'bob')
        }
      },
    ],
  },

  'claims the id of another user': {
    byHand: [
      'speaks as that user and gets what is for that user',
      async (chat) => {
        const [ann, carl] = [await chat.join('ann'), await chat.join('carl')]
        const bob = await chat.join('bob', 'lobby', 'ann')
        bob.json({ type: 'chat', room: 'lobby', text: 'it is me' })
        for (const socket of [ann, bob, carl])
          expect(await socket.nextJson()).to.include({ from: 'ann', text: 'it is me' })
        carl.json({ type: 'tell', to: 'ann', text: 'a secret' })
        expect(await bob.nextJson()).to.include({ type: 'told', text: 'a secret' })
      },
    ],
    koaws: [
      'takes the user from the token',
      async (chat) => {
        const [ann, carl] = [await chat.join('ann'), await chat.join('carl')]
        const bob = await chat.join('bob', 'lobby', 'ann')
        bob.json({ type: 'chat', room: 'lobby', userId: 'ann', from: 'ann', text: 'it is me' })
        for (const socket of [ann, bob, carl])
          expect(await socket.nextJson()).to.include({ from: 'bob', text: 'it is me' })
        carl.json({ type: 'tell', to: 'ann', text: 'a secret' })
        expect(await ann.nextJson()).to.include({ from: 'carl', text: 'a secret' })
        await expectNothing(bob, 'bob')
      },
    ],
  },

  'opens a second tab': {
    byHand: [
      'the second tab takes the place of the first in the `Map`',
      async (chat) => {
        const { one, two, bob } = await tabs(chat)
        bob.json({ type: 'tell', to: 'ann', text: 'hi' })
        expect(await two.nextJson()).to.deep.equal({ type: 'told', from: 'bob', text: 'hi' })
        await expectNothing(one, 'ann')
      },
    ],
    koaws: [
      'sends to both tabs',
      async (chat) => {
        const { one, two, bob } = await tabs(chat)
        bob.json({ type: 'tell', to: 'ann', text: 'hi' })
        for (const tab of [one, two])
          expect(await tab.nextJson()).to.deep.equal({ type: 'told', from: 'bob', text: 'hi' })
      },
    ],
  },

  'closes the second tab': {
    byHand: [
      'deletes the user, and the first tab gets nothing',
      async (chat) => {
        const one = await closeSecondTab(chat, 1)
        const bob = await chat.join('bob')
        bob.json({ type: 'tell', to: 'ann', text: 'hi' })
        await expectNothing(bob, 'bob') // so the server has handled both
        expect(await one.nextJson()).to.include({ type: 'chat', from: 'bob' })
      },
    ],
    koaws: [
      'sends to the first tab',
      async (chat) => {
        const one = await closeSecondTab(chat, 2)
        const bob = await chat.join('bob')
        bob.json({ type: 'tell', to: 'ann', text: 'hi' })
        expect(await one.nextJson()).to.deep.equal({ type: 'told', from: 'bob', text: 'hi' })
      },
    ],
  },

  'leaves a room as the last': {
    byHand: [
      'keeps the empty room forever',
      async (chat) => {
        await visitRooms(chat)
        expect(await chat.roomsAt(0)).to.equal(100)
      },
    ],
    koaws: [
      'ends the room',
      async (chat) => {
        await visitRooms(chat)
        expect(await chat.roomsAt(1)).to.equal(1) // the room of the bystander
      },
    ],
  },

  'is a page of another site, with the cookie of the user': {
    byHand: [
      'accepts it',
      async (chat) => {
        const headers = { ...cookieOf('ann'), origin: 'https://elsewhere.example' }
        const page = await openSocket(chat.port, '/chat', { headers })
        await enter(page, 'ann', 'lobby')
        await expectNothing(page, 'ann')
      },
    ],
    koaws: [
      'answers 403',
      async (chat) => {
        const headers = { ...cookieOf('ann'), origin: 'https://elsewhere.example' }
        const { status } = await rejected(openSocket(chat.port, '/chat', { headers }))
        expect(status).to.equal(403)
      },
    ],
  },

  'sends a message of 5 MB': {
    byHand: [
      'passes it to every member',
      async (chat) => {
        const [ann, bob] = [await chat.join('ann'), await chat.join('bob')]
        ann.json({ type: 'chat', room: 'lobby', text: 'x'.repeat(5_000_000) })
        expect(await bob.next()).to.have.length.above(5_000_000)
      },
    ],
    koaws: [
      'closes this connection with 1009',
      async (chat) => {
        const [ann, bob] = [await chat.join('ann'), await chat.join('bob')]
        ann.json({ type: 'chat', room: 'lobby', text: 'x'.repeat(5_000_000) })
        expect((await ann.closed).code).to.equal(1009)
        await expectNothing(bob, 'bob')
      },
    ],
  },

  'stays after its token has expired': {
    byHand: [
      'goes on serving it',
      async (chat, koaws) => {
        // The close by koaws shows that the token has expired.
        const [byHand, clock] = await untilItIsOpen((token) =>
          Promise.all([openWith(chat, token), openWith(koaws, token)]),
        )
        await enter(byHand, 'ann', 'lobby')
        await clock.closed
        await expectNothing(byHand, 'ann')
        expect(byHand.readyState).to.equal(byHand.OPEN)
      },
    ],
    koaws: [
      'closes this connection with 4401',
      async (chat) => {
        const client = await untilItIsOpen((token) => openWith(chat, token))
        expect(await client.closed).to.deep.equal({ code: 4401, reason: 'expired' })
      },
    ],
  },
}

/**
 * Opens two tabs of Ann and closes the second. Returns the first when this many connections are
 * left.
 */
async function closeSecondTab(chat: ChatProcess, rest: number): Promise<TestSocket> {
  const [one, two] = [await chat.join('ann'), await chat.join('ann')]
  two.close()
  await chat.roomsAt(rest)
  return one
}

/** Joins a hundred rooms with one client, and leaves. */
async function visitRooms(chat: ChatProcess): Promise<void> {
  const client = await openSocket(chat.port, '/chat', { headers: cookieOf('ann') })
  for (let i = 0; i < 100; i++) {
    client.json({ type: 'join', room: `room ${i}` })
    expect(await client.nextJson()).to.include({ type: 'joined' })
  }
  client.close()
}

// ---- The tests

describe('what goes wrong by hand', () => {
  let koaws: ChatProcess

  before(async () => {
    folder = install({ type: 'module' })
    writeGuide(folder)
    koaws = await startChat(join(folder, 'new/server.mjs'))
  })

  afterEach(async () => {
    await cleanUp()
    await endChats(koaws)
  })

  after(async () => {
    await endChats()
    rmSync(folder, { recursive: true, force: true })
  })

  it('is tested for each row of the guide', () => {
    const table = /^\| a client \| by hand \| koaws \|\n.*\n((?:\|.*\n)+)/m.exec(GUIDE)?.[1]
    const titles = Object.entries(rows).map(
      ([client, { byHand, koaws }]) => `| ${client} | ${byHand[0]} | ${koaws[0]} |`,
    )
    expect(table?.trimEnd().split('\n')).to.deep.equal(titles)
  })

  for (const [client, { server, ...row }] of Object.entries(rows)) {
    describe(`a client ${client}`, () => {
      it(`by hand: ${row.byHand[0]}`, async () => {
        await row.byHand[1](await byHand(server), koaws)
      })

      it(`koaws: ${row.koaws[0]}`, async () => {
        const bystander = await koaws.join('dora', 'elsewhere')
        await row.koaws[1](koaws, koaws)
        await expectNothing(bystander, 'dora', 'elsewhere') // one process serves all rows
      })
    })
  }

  for (const [place, options] of [
    ['query', (token: string) => ({ path: `/chat?token=${token}`, headers: {} })],
    ['cookie', (token: string) => ({ path: '/chat', headers: { cookie: `token=${token}` } })],
  ] as const) {
    it(`is compared on equal terms: both chats accept a JWT from the ${place}`, async () => {
      for (const chat of [await byHand(), koaws]) {
        const { path, headers } = options(tokenOf('ann'))
        const socket = await openSocket(chat.port, path, { headers })
        await enter(socket, 'ann', 'lobby')
        await expectNothing(socket, 'ann')
      }
    })
  }

  it('the option `user` selects the claim: `?.sub` finds no user in a token with `id`, and `?.id` does', async () => {
    const hub = guideFiles.get('new/hub.mjs') as string
    const byId = join(folder, 'by-id')
    writeGuide(byId)
    writeFileSync(join(byId, 'new/hub.mjs'), hub.replace('user?.sub', 'user?.id'))
    const token = sign({ id: 7 }, SECRET)
    for (const [chat, user] of [
      [koaws, null],
      [await startChat(join(byId, 'new/server.mjs')), '7'],
    ] as const) {
      const socket = await openWith(chat, token)
      socket.json({ type: 'join', room: 'lobby' })
      expect(await socket.nextJson()).to.include({ type: 'joined' })
      socket.json({ type: 'tell', to: 7, text: 'to all tabs' })
      if (user) {
        expect(await socket.nextJson()).to.deep.equal({
          type: 'told',
          from: user,
          text: 'to all tabs',
        })
      }
      socket.json({ type: 'chat', room: 'lobby', text: 'next' })
      expect(await socket.nextJson()).to.deep.include({ type: 'chat', text: 'next' })
    }
  })

  for (const type of ['module', undefined]) {
    it(`the chat of the guide compiles as TypeScript ${type ? 'with "type": "module"' : 'in a CommonJS package'}`, async () => {
      const project = install({ type })
      try {
        for (const [name, code] of guideFiles) {
          const [, file] = /^new\/(\w+)\.mjs$/.exec(name) ?? []
          if (file) writeFileSync(join(project, `${file}.ts`), code.replaceAll(".mjs'", ".js'"))
        }
        const compilerOptions = { module: 'nodenext', strict: true, noEmit: true, types: ['node'] }
        writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
        const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
        await promisify(execFile)(process.execPath, [tsc, '-p', project]).catch((error) => {
          throw new Error(error.stdout || error.message)
        })
      } finally {
        rmSync(project, { recursive: true, force: true })
      }
    })
  }
})
