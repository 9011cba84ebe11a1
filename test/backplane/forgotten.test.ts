import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import type { Adapter } from '../../lib/backplane/adapter.ts'
import { Backplane } from '../../lib/backplane/backplane.ts'
import type { BackplaneHost } from '../../lib/backplane/host.ts'
import type { Loss, Order } from '../../lib/backplane/order.ts'
import { Frame } from '../../lib/connection/frame.ts'
import { slowly } from '../adapters/redis/patience.ts'
import { breakableAdapter } from '../support/breakable-adapter.ts'

const sendTo = (...names: string[]): Order => ({
  type: 'send',
  target: { kind: 'rooms', names, except: [], exceptUsers: [] },
  frame: Frame.encode('x', null).plain,
  pushed: false,
  volatile: false,
})

const ID = { sender: 'a'.padEnd(20, '_'), receiver: 'b'.padEnd(20, '_') }

describe('an instance that has forgotten its positions while another one was cut off', () => {
  const lines: Backplane[] = []
  afterEach(() => Promise.all(lines.splice(0).map((line) => line.close())))

  function instance(
    id: string,
    adapter: Adapter,
  ): { line: Backplane; losses: Loss[]; got: number } {
    const seen = { losses: [] as Loss[], got: 0 }
    const ignore = (): void => {}
    const host: BackplaneHost = {
      deliver: () => void seen.got++,
      answer: () => ({ count: 0, members: [] }),
      lost: (loss) => void seen.losses.push(loss),
      failed: ignore,
      foreign: ignore,
      noted: ignore,
      joined: ignore,
      left: ignore,
      changed: ignore,
      returned: ignore,
    }
    const line = new Backplane(adapter, id, host)
    lines.push(line)
    return Object.assign(seen, { line })
  }

  /** Delivers one message, loses the next one, and makes the sender forget its room. */
  async function expectTold(adapter: Adapter, cut: () => void, heal?: () => void): Promise<void> {
    const sender = instance(ID.sender, adapter)
    const receiver = instance(ID.receiver, adapter)
    await receiver.line.subscribe('room:r')
    await slowly(() => [sender, receiver].every(({ line }) => line.status.instances === 1))
    sender.line.publish(sendTo('r'))
    await slowly(() => receiver.got === 1)
    expect(receiver.losses).to.deep.equal([])
    cut()
    // All of this runs before the next timer or socket event.
    const publish = async (...names: string[]): Promise<void> => {
      const { result } = sender.line.publish(sendTo(...names))
      sender.line.flush()
      await result
    }
    await publish('r')
    for (let i = 0; i < 1_000; i++)
      await publish(...Array.from({ length: 50 }, (_, k) => `${i} ${k} `.padEnd(250, 'x')))
    if (heal) {
      await slowly(() => receiver.line.status.state === 'degraded')
      heal()
    }
    await slowly(() => receiver.losses.length > 0)
    expect(receiver.got).to.equal(1)
    const loss = receiver.losses.find(({ topic }) => topic === 'room:r')
    expect(loss).to.deep.equal({ topic: 'room:r', from: ID.sender, count: 0 })
  }

  it('reports an unknown loss after a stream between processes broke', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
    const sockets = new Set<Socket>()
    const made = (message: unknown): void =>
      void sockets.add((message as { socket: Socket }).socket)
    subscribe('net.client.socket', made)
    try {
      const adapter = clusterAdapter({ name: 'forgotten', folder, heartbeat: 600_000 })
      const cut = (): void => {
        for (const socket of sockets) socket.destroy()
      }
      await expectTold(adapter, cut)
    } finally {
      unsubscribe('net.client.socket', made)
      await Promise.all(lines.splice(0).map((line) => line.close()))
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('reports an unknown loss after an engine stopped delivering to the other instance', async () => {
    const adapter = breakableAdapter({ heartbeat: 200, echoes: true })
    const cut = (): void => adapter.mute(ID.receiver)
    await expectTold(adapter, cut, () => adapter.unmute(ID.receiver))
  })
})
