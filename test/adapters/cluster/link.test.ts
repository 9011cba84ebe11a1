import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  header,
  introduction,
  Record,
  RecordReader,
  readTopicList,
  topicList,
} from '../../../lib/adapters/cluster/records.ts'
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
  this.timeout(30_000)
  let sockets: Sockets

  beforeEach(() => {
    sockets = new Sockets()
  })

  afterEach(async () => {
    sockets.stop()
    await closeMesh()
    await endProcesses()
  })

  it('of any two that start at once there is one stream, and each is heard once', async () => {
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
        () => sockets.made.slice(before).filter((socket) => !socket.destroyed).length === 6,
      )
      await Promise.all(all.map(({ link }) => link.close()))
    }
  })

  it('what is subscribed while a stream is being made is wanted too', async () => {
    const other = join(meshFolder(), `${'b'.padEnd(20, '_')}.sock`)
    const topics: string[] = []
    let introduced = false
    const server = createServer((socket) => {
      const reader = new RecordReader((kind, body) => {
        if (kind !== Record.subscribe) return
        const list = readTopicList(body)
        topics.push(...list.topics)
        introduced = true
      })
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => reader.push(chunk))
      void until('it has more to say', () => late).then(() => {
        socket.write(introduction(Record.hello, 'b'.padEnd(20, '_')))
        socket.write(topicList(Record.subscribe, 0, []))
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
    await until('it says so', () => topics.includes('room:late'), 500)
    server.close()
  })

  it('the socket of a process that was killed is removed, and holds nobody up', async () => {
    const dead = new LinkProcess('a')
    await dead.up()
    await dead.kill()
    const path = join(meshFolder(), `${dead.id}.sock`)
    expect(existsSync(path)).to.equal(true)
    const began = Date.now()
    const one = new RecordedLink('b')
    await until('it is up', () => one.isUp)
    expect(Date.now() - began).to.be.below(500)
    expect(existsSync(path)).to.equal(false)
  })

  it('a process that is killed is gone at once', async () => {
    const dead = new LinkProcess('a')
    await dead.up()
    const [one, two] = [new RecordedLink('b'), new RecordedLink('A')]
    await meet(one, two)
    await until('it is heard', () => dead.texts.length > 0)
    await dead.kill()
    const began = Date.now()
    await until('it is gone', () => one.gone.length > 0 && two.gone.length > 0)
    expect(Date.now() - began).to.be.below(500)
    expect(one.gone).to.deep.equal([dead.id])
    expect(two.gone).to.deep.equal([dead.id])
    expect(one.events).to.deep.equal(['up'])
  })

  describe('who speaks nonsense on a socket is cut, and costs nobody anything', () => {
    const hello = introduction(Record.hello, 'zzz')
    const wrongVersion = Buffer.from(hello)
    wrongVersion[5] = 99
    const cases: { [what: string]: Buffer[] } = {
      silence: [],
      garbage: [Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n')],
      zeros: [Buffer.alloc(100)],
      'an unknown kind': [Buffer.from([0, 0, 0, 1, 99])],
      'half a record': [hello.subarray(0, 9)],
      'a huge length': [Buffer.from([255, 255, 255, 255, 1])],
      'a large length, and nothing': [Buffer.from([3, 255, 255, 255, 6])],
      'another version': [wrongVersion],
      'a hello without topics': [hello],
      'half a topic': [hello, header(Record.subscribe, 8), Buffer.from([0, 0, 0, 0, 0, 9, 65, 65])],
      'topics without a number': [hello, header(Record.subscribe, 2), Buffer.from([0, 0])],
      'a confirmation that is cut': [hello, header(Record.subscribed, 1), Buffer.from([0])],
      'a payload before its name': [header(Record.payload, 3), Buffer.from('abc')],
      'another name': [hello, introduction(Record.hello, 'yyy')],
      'a knock without a name': [header(Record.knock, 1), Buffer.from([1])],
    }
    for (const [what, parts] of Object.entries(cases)) {
      it(what, async () => {
        const [one, two] = [new RecordedLink('a'), new RecordedLink('b')]
        await meet(one, two)
        const client = await rawSocket(one.path)
        const end = once(client, 'close')
        client.resume()
        for (const part of parts) client.write(part)
        await until('it is cut', () => client.destroyed, 1_500)
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

    it('a byte now and then', async () => {
      const one = new RecordedLink('a')
      await meet(one)
      const client = await rawSocket(one.path)
      client.resume()
      const trickle = setInterval(() => client.write(Buffer.from([0])), 300)
      client.write(Buffer.from([0, 0, 1, 0, 1]))
      try {
        await until('it is cut', () => client.destroyed, 1_500)
      } finally {
        clearInterval(trickle)
      }
    })
  })

  it('a stream that breaks off is made anew, and both know that something may be missed', async () => {
    const all = [new RecordedLink('a'), new RecordedLink('b'), new RecordedLink('c')]
    await meet(...all)
    for (let i = 0; i < 20; i++) {
      const [broken] = sockets.open.sort(() => Math.random() - 0.5)
      for (const { events } of all) events.length = 0
      broken?.destroy()
      const began = performance.now()
      await until('two links were down, and are up', () => {
        return all.filter(({ events }) => events.join() === 'down,up').length === 2
      })
      expect(performance.now() - began, 'ms').to.be.below(100)
      await turn()
      expect(all.flatMap(({ events }) => events)).to.have.lengthOf(4)
      for (const one of all) one.texts.length = 0
      for (const one of all) void one.say(`${one.id} ${i}`)
      await until('all are heard', () => all.every(({ texts }) => texts.length >= 2), 100)
      for (const { texts, gone } of all) {
        expect(new Set(texts).size).to.equal(2)
        expect(gone).to.deep.equal([])
      }
      await until('one stream for each pair', () => sockets.open.length === 6)
    }
  })

  it('all streams at once', async () => {
    const all = ['a', 'b', 'c', 'd'].map((id) => new RecordedLink(id))
    await meet(...all)
    for (let i = 0; i < 20; i++) {
      for (const socket of sockets.open) if (Math.random() < 0.7) socket.destroy()
      await meet(...all)
      for (const { gone } of all) expect(gone).to.deep.equal([])
    }
    await until('one stream for each pair', () => sockets.open.length === 12)
  })

  describe('a process that stands still', () => {
    for (const [id, what] of [
      ['a', 'that connects to others'],
      ['z', 'that others connect to'],
    ] as const) {
      it(`${what} is cut when too much waits for it, and healed when it goes on`, async () => {
        const most = 1024 * 1024
        const slow = new LinkProcess(id, { most })
        await slow.up()
        const [one, two] = [new RecordedLink('m', { most }), new RecordedLink('n', { most })]
        await meet(one, two)
        await until('it is heard by both', () => {
          for (const each of [one, two]) void each.say(each.id)
          return [one, two].every(({ id }) => slow.texts.includes(id))
        })
        for (const { events } of [one, two]) events.length = 0
        slow.child.kill('SIGSTOP')
        let highest = 0
        for (let i = 0; i < 400; i++) {
          void one.say(Buffer.alloc(32 * 1024, 'x'))
          await turn()
          highest = Math.max(highest, ...sockets.open.map((socket) => socket.writableLength))
        }
        expect(highest).to.be.within(most / 2, most + 64 * 1024)
        await until(
          'the other has all',
          () => two.texts.filter((text) => text.startsWith('xxx')).length === 400,
        )
        expect(two.events).to.deep.equal([])
        for (let rounds = 0; rounds < 20; rounds++) {
          await pause(100)
          expect(sockets.open.length, 'sockets do not pile up').to.be.below(60)
        }
        expect(one.gone, 'it lives').to.deep.equal([])
        slow.child.kill('SIGCONT')
        const began = Date.now()
        await until('it is connected', () => one.events.join() === 'down,up')
        await until('it knows', () => slow.events.slice(-2).join() === 'down,up')
        expect(Date.now() - began).to.be.below(1_000)
        await pause(50)
        slow.texts.length = 0
        void one.say('after')
        await until('it hears', () => slow.texts.includes('after'))
        slow.tell('say', 'here I am')
        await until(
          'it is heard',
          () => one.texts.includes('here I am') && two.texts.includes('here I am'),
        )
      })
    }

    it('does not hold up who subscribes, nor who starts, nor who ends', async () => {
      const slow = new LinkProcess('a')
      await slow.up()
      const one = new RecordedLink('m')
      await meet(one)
      await until('it is heard', () => slow.texts.length > 0)
      slow.child.kill('SIGSTOP')
      let began = Date.now()
      await one.link.subscribe(['room:x'])
      expect(Date.now() - began).to.be.below(1_500)
      began = Date.now()
      const late = new RecordedLink('n')
      await until('it is up', () => late.isUp)
      expect(Date.now() - began).to.be.below(1_500)
      began = Date.now()
      await one.link.close()
      expect(Date.now() - began).to.be.below(1_500)
    })
  })

  it('what was published before close() arrives, however much', async () => {
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
    await until('it has come', () => other.texts.includes('the last'), 2_000)
    expect(other.texts).to.have.lengthOf(12 * 16 + 1)
    await until('it has said goodbye', () => other.gone.includes(one.id))
  })

  it('a process without files left takes nobody for dead', async () => {
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

  it('whoever tidies the folder up is healed from', async () => {
    const [one, two] = [new RecordedLink('b'), new RecordedLink('c')]
    await meet(one, two)
    for (const what of [meshFolder(), one.path]) {
      rmSync(what, { recursive: true })
      await until('it is there again', () => existsSync(one.path) && existsSync(two.path), 220)
      const late = [new RecordedLink('a'), new RecordedLink('d')]
      await meet(one, two, ...late)
      for (const { link } of late) await link.close()
      for (const { events } of [one, two]) expect(events).to.deep.equal(['up'])
    }
    expect(one.gone).to.have.members(two.gone).and.have.lengthOf(4)
  })

  it('a folder that others can enter is not used', async () => {
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

  it('a folder that cannot be made is tried again', async () => {
    const at = meshFolder()
    renameSync(at, `${at}-away`)
    writeFileSync(at, '')
    const one = new RecordedLink('b')
    await pause(300)
    expect(one.events).to.deep.equal([])
    rmSync(at)
    renameSync(`${at}-away`, at)
    await until('it is up', () => one.isUp, 1_500)
  })

  it('a payload that is too large is refused, and breaks nothing', async () => {
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

  it('close() in the middle of anything leaves nothing open', async () => {
    for (let round = 0; round < 60; round++) {
      const all = ['a', 'b', 'c'].map((id) => new RecordedLink(`${id}${round}`))
      for (let turns = round % 12; turns > 0; turns--) await turn()
      await Promise.all(all.map(({ link }) => link.close()))
      await until('all is closed', () => sockets.open.length === 0, 500)
      expect(existsSync(meshFolder())).to.equal(false)
    }
  })
})
