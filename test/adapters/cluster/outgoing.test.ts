import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect } from 'chai'
import { Outgoing } from '../../../lib/adapters/cluster/outgoing.ts'
import { RecordKind } from '../../../lib/adapters/cluster/records.ts'
import { turn } from '../../support/server.ts'
import {
  closeMesh,
  laterReader,
  meet,
  meshFolder,
  RecordedLink,
  rawPeer,
  rawSocket,
  Sockets,
  until,
} from './support/mesh.ts'

const KIB = 1024

const MIB = 1024 * KIB

describe('the sending side of a stream', function () {
  this.timeout(120_000)
  const servers = new Set<Server>()
  let sockets: Sockets

  beforeEach(() => {
    sockets = new Sockets()
  })

  afterEach(async () => {
    sockets.stop()
    for (const server of servers) server.close()
    servers.clear()
    await closeMesh()
  })

  describe('with a full buffer', () => {
    /** Makes the sending end of a stream to a peer that reads nothing. */
    async function stuck(most: number): Promise<{ outgoing: Outgoing; peer: Socket }> {
      const server = createServer({ pauseOnConnect: true })
      servers.add(server)
      server.listen(join(meshFolder(), 'server'))
      const accepted = once(server, 'connection') as Promise<[Socket]>
      const socket = await rawSocket(join(meshFolder(), 'server'))
      const source = { isIntroducing: false, nextRecord: () => null, stayed: () => {} }
      const outgoing = new Outgoing(socket, source, most)
      return { outgoing, peer: (await accepted)[0] }
    }

    it('stays within its limit in bytes, even with many small payloads', async () => {
      for (const size of [1, 1 * KIB, 100 * KIB]) {
        const { outgoing } = await stuck(2 * MIB)
        let result = ''
        for (let i = 0; result !== 'refused'; i++) {
          result = outgoing.publish(`room:${i}`, Buffer.alloc(size), false)
          if (i % 1_000 === 0) await turn()
        }
        expect(outgoing.waiting).to.be.within(MIB, 2 * MIB + 256 * KIB)
        for (const server of servers) server.close()
      }
    })

    it('refuses the largest publishers, and accepts all others, in any order', async () => {
      const { outgoing, peer } = await stuck(16 * MIB)
      const heavy = Array.from({ length: 3 }, () => 0)
      for (let i = 0; i < 300; i++) {
        for (const [n] of heavy.entries()) {
          const result = outgoing.publish(`room:heavy ${n}`, Buffer.alloc(MIB / 2), false)
          if (result === 'refused') heavy[n] = (heavy[n] as number) + 1
        }
        if (i % 10 === 0) {
          expect(outgoing.publish(`room:${i}`, Buffer.alloc(4 * KIB), false)).to.not.equal(
            'refused',
          )
          expect(outgoing.publish('all', Buffer.alloc(50), false)).to.not.equal('refused')
        }
        await turn()
      }
      for (const refused of heavy) expect(refused).to.be.above(250)
      const numbers: number[] = []
      const reader = laterReader((_kind, body) => numbers.push(body.length))
      peer.on('data', (chunk: Buffer) => reader.push(chunk))
      peer.resume()
      await until('all has left', () => outgoing.waiting === 0)
      await until('it has come', () => numbers.filter((length) => length === 50).length === 30)
      expect(outgoing.publish('room:heavy 0', Buffer.alloc(MIB), false)).to.equal('given')
    })

    it('lets the beat of an instance pass a flood on the same topic', async () => {
      const { outgoing } = await stuck(16 * MIB)
      for (let i = 0; i < 200; i++) {
        outgoing.publish('all', Buffer.alloc(200 * KIB), false)
        if (i % 20 === 0) {
          expect(outgoing.publish('all', Buffer.alloc(60), false)).to.not.equal('refused')
        }
        await turn()
      }
    })
  })

  it('delivers payloads for one instance in order, and resolves each publish after the drain', async () => {
    const one = new RecordedLink('a')
    await meet(one)
    const peer = await rawPeer(one)
    peer.pause()
    let done = 0
    const parts = Array.from({ length: 40 }, (_, i) =>
      one.say(Buffer.alloc(64 * KIB, i), 'instance:zzz').then(() => done++),
    )
    for (let i = 0; i < 20; i++) await turn()
    expect(done, 'parts that the socket was given').to.be.below(20)
    const seen: number[] = []
    const reader = laterReader((kind, body) => {
      if (kind === RecordKind.payload) seen.push(body[0] as number)
    })
    peer.on('data', (chunk: Buffer) => reader.push(chunk))
    peer.resume()
    await Promise.all(parts)
    await until('all parts have come', () => seen.length === 40)
    expect(seen).to.deep.equal(Array.from({ length: 40 }, (_, i) => i))
  })
})
