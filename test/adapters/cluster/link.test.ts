import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect } from 'chai'
import { Calls } from '../../../lib/adapters/cluster/calls.ts'
import { socketPath } from '../../../lib/adapters/cluster/folder.ts'
import {
  header,
  introduction,
  RecordKind,
  RecordReader,
  readTopicList,
  topicList,
} from '../../../lib/adapters/cluster/records.ts'
import type { KoaWsError } from '../../../lib/errors.ts'
import { turn } from '../../support/server.ts'
import {
  closeMesh,
  meet,
  meshFolder,
  pause,
  RecordedLink,
  rawSocket,
  Sockets,
  until,
} from './support/mesh.ts'
import { endProcesses, LinkProcess } from './support/process.ts'

describe('a mesh of links', function () {
  this.timeout(180_000) // beyond that of each `until`, which names what it waits for
  let sockets: Sockets

  beforeEach(() => {
    sockets = new Sockets()
  })

  afterEach(async () => {
    sockets.stop()
    await closeMesh()
    await endProcesses()
  })

  it('has one stream per pair, and delivers each message once, when links start at the same time', async () => {
    for (let round = 0; round < 200; round++) {
      const before = sockets.made.length
      const all: RecordedLink[] = []
      for (const id of [...'abc'].sort(() => Math.random() - 0.5)) {
        all.push(new RecordedLink(`${round}${id}`))
        for (let turns = round % 5; turns > 0; turns--) await turn()
      }
      await until('all are up', () => all.every((one) => one.isUp))
      for (const one of all) void one.say(one.id)
      await until('all have heard', () => all.every((one) => one.texts.length >= 2))
      await turn()
      await turn()
      for (const one of all) {
        const others = all.filter((other) => other !== one).map(({ id }) => id)
        expect([...one.texts].sort(), `round ${round}`).to.deep.equal(others.sort())
        expect(one.events, `round ${round}`).to.deep.equal(['up'])
        expect(one.gone).to.deep.equal([])
      }
      await until(
        `one stream for each pair, round ${round}`,
        () =>
          sockets.made.slice(before).filter((socket) => sockets.open.includes(socket)).length === 6,
      )
      await Promise.all(all.map(({ link }) => link.close()))
    }
  })

  it('announces topics that are subscribed during the handshake of a stream', async () => {
    const other = join(meshFolder(), `${'b'.padEnd(20, '_')}.sock`)
    const topics: string[] = []
    let introduced = false
    const server = createServer((socket) => {
      const reader = new RecordReader((kind, body) => {
        if (kind !== RecordKind.subscribe) return
        const list = readTopicList(body)
        topics.push(...list.topics)
        introduced = true
      })
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => reader.push(chunk))
      void until('it has more to say', () => late).then(() => {
        socket.write(introduction(RecordKind.hello, 'b'.padEnd(20, '_')))
        socket.write(topicList(RecordKind.subscribe, 0, []))
      })
    })
    let late = false
    server.listen(other)
    await once(server, 'listening')
    const one = new RecordedLink('a')
    await until('it is introduced', () => introduced)
    one.link.subscribe(['room:late']).catch(() => {})
    await turn()
    late = true
    await until('it says so', () => topics.includes('room:late'))
    server.close()
  })

  it('removes the socket of a killed process, and starts without delay', async () => {
    const dead = new LinkProcess('a')
    await dead.up()
    await dead.kill()
    const path = join(meshFolder(), `${dead.id}.sock`)
    expect(existsSync(path)).to.equal(true)
    const one = new RecordedLink('b', { interval: 60_000 })
    await until('it is up', () => one.isUp)
    expect(existsSync(path)).to.equal(false)
  })

  it('may call an instance again when a socket was destroyed while it connected', async () => {
    const id = 'b'.padEnd(20, '_')
    const server = createServer().listen(socketPath(meshFolder(), id))
    await once(server, 'listening')
    const opened: Socket[] = []
    const calls = new Calls({
      id: 'a'.padEnd(20, '_'),
      folder: meshFolder(),
      isClosed: false,
      needs: () => true,
      open: (socket) => opened.push(socket),
      dead: () => {},
    })
    const made = sockets.made.length
    calls.call(id)
    const [first] = sockets.made.slice(made) as [Socket]
    first.destroy()
    await once(first, 'close')
    calls.call(id)
    await until('it is connected', () => opened.length === 1)
    for (const socket of opened) socket.destroy()
    server.close()
  })

  it('reports a killed process as gone at once', async () => {
    const dead = new LinkProcess('a')
    await dead.up()
    // The interval of folder scans exceeds the test: only the kernel can report the end.
    const interval = 120_000
    const [one, two] = [new RecordedLink('b', { interval }), new RecordedLink('A', { interval })]
    await meet(one, two)
    // A link is up after a second, whether or not a slow process has answered.
    await until('both are heard', () => {
      for (const each of [one, two]) void each.say(each.id)
      return [one, two].every(({ id }) => dead.texts.includes(id))
    })
    await dead.kill()
    await until('it is gone', () => one.gone.length > 0 && two.gone.length > 0)
    expect(one.gone).to.deep.equal([dead.id])
    expect(two.gone).to.deep.equal([dead.id])
    expect(one.events).to.deep.equal(['up'])
  })

  it('asks an instance again that takes a connection and does not answer, until it is dead', async () => {
    const id = 'a'.padEnd(20, '_')
    const knocks: number[] = []
    const server = createServer((socket) => {
      knocks.push(performance.now())
      socket.resume().destroy() // as a process that is being killed
      if (knocks.length === 3) server.close()
    }).listen(socketPath(meshFolder(), id))
    await once(server, 'listening')
    // The interval of folder scans exceeds the test.
    const one = new RecordedLink('b', { interval: 120_000 })
    await until('it is gone', () => one.gone.length > 0)
    expect(one.gone).to.deep.equal([id])
    const waits = knocks.slice(1).map((at, i) => at - (knocks[i] as number))
    expect(Math.min(...waits), 'the time between two knocks').to.be.above(990)
  })

  describe('a stream with invalid data is cut, and all others live on:', () => {
    const hello = introduction(RecordKind.hello, 'zzz')
    const wrongVersion = Buffer.from(hello)
    wrongVersion[5] = 99
    const cases: { [what: string]: Buffer[] } = {
      silence: [],
      garbage: [Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n')],
      zeros: [Buffer.alloc(100)],
      'an unknown kind': [Buffer.from([0, 0, 0, 1, 99])],
      'half a record': [hello.subarray(0, 9)],
      'a huge length': [Buffer.from([255, 255, 255, 255, 1])],
      'a large length without data': [Buffer.from([3, 255, 255, 255, 6])],
      'another version': [wrongVersion],
      'a hello without topics': [hello],
      'a truncated topic': [
        hello,
        header(RecordKind.subscribe, 8),
        Buffer.from([0, 0, 0, 0, 0, 9, 65, 65]),
      ],
      'topics without a number': [hello, header(RecordKind.subscribe, 2), Buffer.from([0, 0])],
      'a truncated confirmation': [hello, header(RecordKind.subscribed, 1), Buffer.from([0])],
      'a payload before its name': [header(RecordKind.payload, 3), Buffer.from('abc')],
      'a second hello with another name': [hello, introduction(RecordKind.hello, 'yyy')],
      'a knock without a name': [header(RecordKind.knock, 1), Buffer.from([1])],
    }
    for (const [what, parts] of Object.entries(cases)) {
      it(what, async () => {
        const [one, two] = [new RecordedLink('a'), new RecordedLink('b')]
        await meet(one, two)
        const client = await rawSocket(one.path)
        const end = once(client, 'close')
        client.resume()
        for (const part of parts) client.write(part)
        await until('it is cut', () => client.destroyed)
        await end
        await two.say('still here')
        await until('it is heard', () => one.texts.includes('still here'))
        expect(one.texts).to.deep.equal(['still here'])
        for (const { events, gone } of [one, two]) {
          expect(events).to.deep.equal(['up'])
          expect(gone).to.deep.equal([])
        }
      })
    }

    it('one byte now and then', async () => {
      const one = new RecordedLink('a')
      await meet(one)
      const client = await rawSocket(one.path)
      client.resume()
      const trickle = setInterval(() => client.write(Buffer.from([0])), 300)
      client.write(Buffer.from([0, 0, 1, 0, 1]))
      try {
        await until('it is cut', () => client.destroyed)
      } finally {
        clearInterval(trickle)
      }
    })
  })

  it('replaces a broken stream, and both ends report down and up', async () => {
    const all = [new RecordedLink('a'), new RecordedLink('b'), new RecordedLink('c')]
    await meet(...all)
    for (let i = 0; i < 6; i++) {
      const [broken] = sockets.open.sort(() => Math.random() - 0.5)
      for (const { events } of all) events.length = 0
      broken?.destroy()
      await until('two links were down, and are up', () => {
        return all.filter(({ events }) => events.join() === 'down,up').length === 2
      })
      await turn()
      expect(all.flatMap(({ events }) => events)).to.have.lengthOf(4)
      for (const one of all) one.texts.length = 0
      for (const one of all) void one.say(`${one.id} ${i}`)
      await until('all are heard', () => all.every(({ texts }) => texts.length >= 2))
      for (const { texts, gone } of all) {
        expect(new Set(texts).size).to.equal(2)
        expect(gone).to.deep.equal([])
      }
      await until('one stream for each pair', () => sockets.open.length === 6)
    }
  })

  it('replaces several broken streams at once', async () => {
    const all = ['a', 'b', 'c', 'd'].map((id) => new RecordedLink(id))
    await meet(...all)
    for (let i = 0; i < 5; i++) {
      for (const socket of sockets.open) if (Math.random() < 0.7) socket.destroy()
      await meet(...all)
      for (const { gone } of all) expect(gone).to.deep.equal([])
    }
    await until('one stream for each pair', () => sockets.open.length === 12)
  })

  describe('with a stopped process', () => {
    for (const [id, what] of [
      ['a', 'connects to others'],
      ['z', 'others connect to'],
    ] as const) {
      it(`cuts a process that ${what} when it reads nothing, and reconnects when it continues`, async function () {
        if (process.platform !== 'linux') this.skip() // only /proc shows that a process is stopped
        const [most, patience] = [1024 * 1024, 2_000]
        const slow = new LinkProcess(id, { most })
        await slow.up()
        const [one, two] = ['m', 'n'].map((name) => new RecordedLink(name, { most, patience })) as [
          RecordedLink,
          RecordedLink,
        ]
        await meet(one, two)
        await until('it is heard by both', () => {
          for (const each of [one, two]) void each.say(each.id)
          return [one, two].every(({ id }) => slow.texts.includes(id))
        })
        for (const { events } of [one, two]) events.length = 0
        slow.child.kill('SIGSTOP')
        // A busy machine delivers the signal late.
        const stat = `/proc/${slow.child.pid}/stat`
        await until('it stands still', () => readFileSync(stat, 'utf8').includes(') T '))
        const large = Buffer.alloc(32 * 1024, 'x')
        const verdicts: Promise<unknown>[] = []
        let highest = 0
        for (let i = 0; i < 200; i++) {
          verdicts.push(one.say(large).catch((error: KoaWsError) => error.code))
          await turn()
          highest = Math.max(highest, ...sockets.open.map((socket) => socket.writableLength))
        }
        expect(highest, 'bytes in one socket').to.be.below(most)
        const codes = (await Promise.all(verdicts)).filter((verdict) => typeof verdict === 'string')
        expect(new Set(codes)).to.deep.equal(new Set(['ERR_KOAWS_BACKPLANE_REFUSED']))
        expect(200 - codes.length, 'that wait').to.be.at.least(16)
        const arrived = (): string[] => two.texts.filter((text) => text.startsWith('xxx'))
        await until('the other has all', () => arrived().length === 200)
        const cut = sockets.open.length
        await until('it is cut by one of them', () => sockets.open.length < cut)
        expect(one.gone, 'it lives').to.deep.equal([])
        expect(two.events).to.deep.equal([])
        const made = sockets.made.length
        await pause(2_000)
        expect(sockets.made.length - made, 'sockets made in 2 s').to.be.below(20)
        slow.child.kill('SIGCONT')
        await until('it is connected', () => one.events.slice(-2).join() === 'down,up')
        await until('it knows', () => slow.events.slice(-2).join() === 'down,up')
        await until('it hears', () => {
          void one.say('after')
          return slow.texts.includes('after')
        })
        await until('it is heard', () => {
          slow.tell('say', 'here I am')
          return one.texts.includes('here I am') && two.texts.includes('here I am')
        })
      })
    }

    it('lets other instances subscribe, start and close without delay', async () => {
      const slow = new LinkProcess('a')
      await slow.up()
      const one = new RecordedLink('m')
      await meet(one)
      await until('it is heard', () => {
        void one.say('hello')
        return slow.texts.includes('hello')
      })
      slow.child.kill('SIGSTOP')
      await one.link.subscribe(['room:x'])
      const late = new RecordedLink('n')
      await until('it is up', () => late.isUp)
      await one.link.close()
    })
  })

  it('delivers all messages that precede close()', async () => {
    const other = new RecordedLink('z')
    const one = new LinkProcess('a')
    await one.up()
    await until('it is there', () => other.isUp)
    const end = once(one.child, 'exit')
    one.tell('many', '12')
    one.tell('close')
    await until('it speaks', () => other.bytes > 0)
    for (const began = Date.now(); Date.now() - began < 200; );
    const [code] = await end
    expect(code).to.equal(0)
    await until('it has come', () => other.texts.includes('the last'))
    expect(other.texts).to.have.lengthOf(12 * 16 + 1)
    await until('it has said goodbye', () => other.gone.includes(one.id))
  })

  it('keeps live instances while a process has no file descriptors left', async () => {
    const one = new RecordedLink('m')
    await meet(one)
    const poor = new LinkProcess('z', { files: 60, interval: 50 })
    await poor.up()
    poor.tell('exhaust')
    await until('it has none', () => poor.events.includes('exhausted'))
    const late = [new RecordedLink('b'), new RecordedLink('y')]
    for (const socket of sockets.open) socket.destroy()
    await pause(600)
    for (const { path } of [one, ...late]) expect(existsSync(path), path).to.equal(true)
    expect(poor.gone).to.deep.equal([])
    expect(poor.child.exitCode).to.equal(null)
    poor.tell('release')
    await meet(one, ...late)
    poor.tell('say', 'here I am')
    await until('it is heard', () =>
      [one, ...late].every(({ texts }) => {
        poor.tell('say', 'here I am')
        return texts.includes('here I am')
      }),
    )
    for (const { gone } of [one, ...late]) expect(gone).to.deep.equal([])
  })

  it('recovers when its folder or socket is deleted', async () => {
    const [one, two] = [new RecordedLink('b'), new RecordedLink('c')]
    await meet(one, two)
    for (const what of [meshFolder(), one.path]) {
      rmSync(what, { recursive: true })
      await until('it is there again', () => existsSync(one.path) && existsSync(two.path))
      const late = [new RecordedLink('a'), new RecordedLink('d')]
      await meet(one, two, ...late)
      for (const { link } of late) await link.close()
      for (const { events } of [one, two]) expect(events).to.deep.equal(['up'])
    }
    expect(one.gone).to.have.members(two.gone).and.have.lengthOf(4)
  })

  it('leaves a folder that others can enter unused', async () => {
    const one = new RecordedLink('b')
    await meet(one)
    rmSync(meshFolder(), { recursive: true })
    mkdirSync(meshFolder(), { mode: 0o777 })
    chmodSync(meshFolder(), 0o777)
    await pause(400)
    expect(existsSync(one.path)).to.equal(false)
    chmodSync(meshFolder(), 0o700)
    await until('it is there again', () => existsSync(one.path))
  })

  it('retries to make its folder', async () => {
    const at = meshFolder()
    renameSync(at, `${at}-away`)
    writeFileSync(at, '')
    const one = new RecordedLink('b')
    await pause(300)
    expect(one.events).to.deep.equal([])
    rmSync(at)
    renameSync(`${at}-away`, at)
    await until('it is up', () => one.isUp)
  })

  it('refuses a payload that is too large, and keeps the stream', async () => {
    const [one, two] = [new RecordedLink('a'), new RecordedLink('b')]
    await meet(one, two)
    const refused = await one.link
      .publish(['all'], Buffer.alloc(64 * 1024 * 1024))
      .catch((error: unknown) => error)
    expect(refused).to.have.property('code', 'ERR_KOAWS_BACKPLANE_REFUSED')
    await one.say('still here')
    await until('it is heard', () => two.texts.includes('still here'))
    expect(two.events).to.deep.equal(['up'])
  })

  it('leaves no socket and no folder after close() at any moment', async () => {
    for (let round = 0; round < 60; round++) {
      const all = ['a', 'b', 'c'].map((id) => new RecordedLink(`${id}${round}`))
      for (let turns = round % 12; turns > 0; turns--) await turn()
      await Promise.all(all.map(({ link }) => link.close()))
      await until('all is closed', () => sockets.open.length === 0)
      expect(existsSync(meshFolder())).to.equal(false)
    }
  })
})
