import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { expect } from 'chai'
import { introduction, RecordKind, topicList } from '../../../lib/adapters/cluster/records.ts'
import { waitOf } from '../../../lib/adapters/cluster/retries.ts'
import { closeMesh, meshFolder, RecordedLink, Sockets, until } from './support/mesh.ts'

describe('a stream that breaks again and again', function () {
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

  it('limits the wait between attempts, with jitter', () => {
    expect(waitOf(0)).to.equal(0)
    for (let attempts = 1; attempts < 2_000; attempts += 7) {
      const longest = Math.min(5_000, 100 * 2 ** (attempts - 1))
      expect(waitOf(attempts)).to.be.within(longest / 2, longest)
    }
    expect(new Set(Array.from({ length: 20 }, () => waitOf(9))).size).to.be.above(10)
  })

  it('waits longer before each new attempt when streams are cut repeatedly', async () => {
    const id = 'z'.padEnd(20, '_')
    const times: number[] = []
    const server = createServer((socket) => {
      times.push(performance.now())
      socket.on('error', () => {})
      socket.resume()
      socket.write(introduction(RecordKind.hello, id))
      socket.write(topicList(RecordKind.subscribe, 0, ['all']))
      socket.write(Buffer.from([0, 0, 0, 1, 99]))
    })
    servers.add(server)
    server.listen(join(meshFolder(), `${id}.sock`))
    await once(server, 'listening')
    const one = new RecordedLink('a', { interval: 10 })
    await until('it has tried', () => times.length >= 7)
    const waits = times.slice(1).map((time, i) => time - (times[i] as number))
    for (const [i, least] of [0, 50, 100, 200, 400, 800].entries()) {
      expect(waits[i], `wait ${i}`).to.be.at.least(least - 2)
    }
    expect(one.gone).to.deep.equal([])
  })
})
