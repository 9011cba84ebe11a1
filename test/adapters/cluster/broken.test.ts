import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { clusterAdapter } from '../../../lib/adapters/cluster/index.ts'
import { enterAndHold, type House, house } from '../../support/order.ts'
import { cleanUp } from '../../support/server.ts'
import { until } from './support/mesh.ts'

const RESYNC = '{"type":"koaws:resync","data":{"room":"r"}}'

describe('a broken stream between processes', function () {
  this.timeout(180_000) // beyond that of each `until`, which names what it waits for
  const sockets = new Set<Socket>()
  const made = (message: unknown): void => void sockets.add((message as { socket: Socket }).socket)
  let folder: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'koaws-'))
    subscribe('net.client.socket', made)
  })

  afterEach(async () => {
    unsubscribe('net.client.socket', made)
    sockets.clear()
    await cleanUp()
    rmSync(folder, { recursive: true, force: true })
  })

  it('loses messages published meanwhile: send() resolves with "sent", and the receiver counts them and sends koaws:resync', async () => {
    const open = (): Promise<House> =>
      house({ adapter: clusterAdapter({ name: 'broken', folder, heartbeat: 200 }) })
    const [one, other] = [await open(), await open()]
    await until('both know each other', () =>
      [one, other].every(({ hub }) => hub.status().backplane.instances === 1),
    )
    unsubscribe('net.client.socket', made) // the WebSocket clients connect later
    /** Enters a client, and returns the array of its messages. */
    const listen = async (where: House, path: '/' | '/v1'): Promise<string[]> => {
      const { socket } = await enterAndHold(where, { path, rooms: ['r'] })
      const texts: string[] = []
      socket.on('message', (data: Buffer) => texts.push(String(data)))
      return texts
    }
    const mine = await listen(one, '/')
    const theirs = await listen(other, '/v1')
    one.hub.room('r').send('1')
    await until('it is heard', () => theirs.includes('1'))
    for (const socket of sockets) socket.destroy()
    const sends = ['2', '3', '4'].map((text) => one.hub.room('r').send(text))
    for (const { backplane } of sends) expect(await backplane).to.equal('sent')
    await until('it is counted', () => other.hub.status().backplane.lost > 0)
    one.hub.room('r').send('5')
    await until('the next one is heard', () => theirs.includes('5'))
    expect(theirs).to.deep.equal(['1', RESYNC, '5'])
    expect(mine).to.deep.equal(['1', '2', '3', '4', '5'])
    expect(other.hub.status().backplane.lost).to.equal(3)
    expect(other.hub.status().drops['lost']).to.equal(3)
    expect(one.hub.status().backplane.lost).to.equal(0)
  })
})
