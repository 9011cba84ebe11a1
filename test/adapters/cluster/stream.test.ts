import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { expect } from 'chai'
import { header, RecordKind } from '../../../lib/adapters/cluster/records.ts'
import {
  closeMesh,
  meet,
  pause,
  RecordedLink,
  rawPeer,
  rawSocket,
  Sockets,
  until,
} from './support/mesh.ts'

const KIB = 1024

const MIB = 1024 * KIB

describe('a stream of a mesh', function () {
  this.timeout(120_000)
  let sockets: Sockets

  beforeEach(() => {
    sockets = new Sockets()
  })

  afterEach(async () => {
    sockets.stop()
    await closeMesh()
  })

  describe('with slow peers', () => {
    it('delivers everything to a slow reader', async () => {
      const one = new RecordedLink('a', { patience: 250 })
      await meet(one)
      const peer = await rawPeer(one)
      let [bytes, reads] = [0, 0]
      peer.pause()
      for (let i = 0; i < 120; i++) void one.say(Buffer.alloc(64 * KIB, 'x'))
      const began = performance.now()
      while (bytes < 120 * 64 * KIB) {
        const chunk = peer.read() as Buffer | null
        if (chunk) {
          bytes += chunk.length
          reads++
        }
        expect(peer.destroyed, 'cut').to.equal(false)
        await pause(20)
      }
      expect(reads).to.be.above(20)
      expect(performance.now() - began, 'longer than the patience').to.be.above(500)
      expect(one.events).to.deep.equal(['up'])
    })

    it('cuts a peer that reads nothing', async () => {
      const one = new RecordedLink('a', { patience: 250 })
      await meet(one)
      const peer = await rawPeer(one)
      peer.pause()
      const end = once(peer, 'close')
      const before = sockets.open.length
      void one.say(Buffer.alloc(4 * MIB, 'x'))
      await until('it is cut', () => sockets.open.length < before)
      peer.resume()
      await end
      await one.say('nothing is wanted any more')
    })

    it('cuts a peer that never completes a record', async () => {
      const one = new RecordedLink('a', { patience: 250 })
      await meet(one)
      const peer = await rawPeer(one)
      peer.resume()
      peer.write(header(RecordKind.payload, 32 * MIB))
      peer.write(Buffer.alloc(MIB))
      await once(peer, 'close')
      expect(one.bytes).to.equal(0)
    })

    it('reads a record that arrives slowly', async () => {
      const one = new RecordedLink('a', { patience: 800 })
      await meet(one)
      const peer = await rawPeer(one)
      peer.resume()
      // Longer than the patience in all, and far shorter from byte to byte.
      peer.write(header(RecordKind.payload, 20))
      for (let i = 0; i < 20; i++) {
        peer.write('x')
        await pause(50)
      }
      await until('it has come', () => one.texts.includes('x'.repeat(20)))
      expect(peer.destroyed).to.equal(false)
    })
  })

  it('accepts another instance while 400 silent connections are open', async () => {
    const one = new RecordedLink('a')
    await meet(one)
    const strangers = await Promise.all(Array.from({ length: 400 }, () => rawSocket(one.path)))
    for (const stranger of strangers) stranger.resume()
    await until('those beyond the bound are closed', () => {
      return strangers.filter((stranger) => stranger.destroyed).length >= 144
    })
    const two = new RecordedLink('b')
    await meet(one, two)
    expect(one.events).to.deep.equal(['up'])
  })
})
