import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { TestSocket } from '../../../lib/testing/index.ts'
import { cleanUp, openSocket } from '../../support/server.ts'
import { until } from './support/mesh.ts'
import { endProcesses, start } from './support/process.ts'

interface WorkerState {
  state: string
  instances: number
  lost: number
}

/** A client of one worker, and the messages that it has received, by sender. */
interface Guest {
  readonly socket: TestSocket
  readonly pid: number
  readonly heard: Map<number, string[]>
  /** The number of large messages. */
  large: number
}

describe('workers of node:cluster', function () {
  this.timeout(180_000)
  let folder: string
  let primary: ChildProcess
  let port = 0
  let guests: Guest[]
  const workers = new Map<number, WorkerState>()
  const exits = new Map<number, unknown>()

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'koaws-'))
    workers.clear()
    exits.clear()
    guests = []
    primary = start('./cluster.mjs', ['4'], { env: { ...process.env, XDG_RUNTIME_DIR: folder } })
    primary.on('message', ([event, pid, ...rest]: [string, number, ...unknown[]]) => {
      if (event === 'listening') port = rest[0] as number
      else if (event === 'status') {
        const [state, instances, lost] = rest as [string, number, number]
        workers.set(pid, { state, instances, lost })
      } else if (event === 'exit') {
        workers.delete(pid)
        exits.set(pid, rest[0])
      }
    })
    await acquainted(4)
  })

  afterEach(async () => {
    await cleanUp()
    // A stopped worker cannot see that its primary has exited.
    for (const pid of workers.keys()) process.kill(pid, 'SIGKILL')
    await endProcesses()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Waits until this many workers know each other. */
  function acquainted(count: number): Promise<void> {
    return until(
      `${count} workers know each other`,
      () =>
        workers.size === count &&
        [...workers.values()].every(
          ({ state, instances }) => state === 'ready' && instances === count - 1,
        ),
      60_000,
    )
  }

  async function enter(): Promise<Guest> {
    const socket = await openSocket(port)
    const { pid } = (await socket.nextJson()) as { pid: number }
    const guest: Guest = { socket, pid, heard: new Map(), large: 0 }
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => {
      if (data.length > 1_000) {
        guest.large++
        return
      }
      const { from, text } = JSON.parse(String(data)) as { from: number; text: string }
      const texts = guest.heard.get(from) ?? []
      guest.heard.set(from, texts)
      texts.push(text)
    })
    guests.push(guest)
    return guest
  }

  /** Keeps one client per worker. */
  async function oneEach(): Promise<void> {
    while (new Set(guests.map(({ pid }) => pid)).size < workers.size) await enter()
    const seen = new Set<number>()
    guests = guests.filter(({ pid, socket }) => {
      if (seen.has(pid)) socket.terminate()
      return seen.size !== seen.add(pid).size
    })
  }

  const living = (): Guest[] => guests.filter(({ pid }) => workers.has(pid))

  /**
   * Sends a number to all through each of these clients every 2 ms. @returns a function that
   * stops, and returns the count
   */
  function talkOn(those: () => Guest[]): () => number {
    let number = 0
    const timer = setInterval(() => {
      for (const { socket } of those()) socket.json({ to: 'lobby', text: String(number) })
      number++
    }, 2)
    return () => {
      clearInterval(timer)
      return number
    }
  }

  it('share rooms, and lose no message between survivors when one is killed', async () => {
    await oneEach()
    for (const pid of [...workers.keys()]) {
      const stay = living().filter((guest) => guest.pid !== pid)
      for (const { heard } of guests) heard.clear()
      const stop = talkOn(() => guests.filter((guest) => guest.pid === pid || stay.includes(guest)))
      const heardAll = (count: number): boolean =>
        stay.every(({ heard }) => stay.every((from) => (heard.get(from.pid)?.length ?? 0) >= count))
      await until('they speak', () => heardAll(50))
      process.kill(pid, 'SIGKILL')
      await until('it is dead', () => exits.has(pid))
      if (workers.size > 0) await acquainted(workers.size)
      const total = stop()
      await until('all is heard', () => heardAll(total))
      const all = Array.from({ length: total }, (_, i) => String(i))
      for (const { heard } of stay) {
        for (const from of stay) expect(heard.get(from.pid)).to.deep.equal(all)
      }
      for (const { lost, state } of workers.values()) {
        expect(lost).to.equal(0)
        expect(state).to.equal('ready')
      }
    }
    expect(workers.size).to.equal(0)
  })

  it('are replaced one at a time, exit by themselves, and lose no message', async () => {
    await oneEach()
    const old = [...workers.keys()]
    for (const pid of old) {
      const stay = living().filter((guest) => guest.pid !== pid)
      const leaving = guests.filter((guest) => guest.pid === pid)
      for (const { heard } of guests) heard.clear()
      // The leaving worker sends too: all receive its messages.
      const stop = talkOn(() => stay)
      primary.send(['fork'])
      await acquainted(5)
      for (const { socket } of leaving) {
        for (let i = 0; i < 200; i++) socket.json({ to: 'lobby', text: `last ${i}` })
      }
      await until('its last is said', () =>
        leaving.every(({ heard }) => heard.get(pid)?.includes('last 199')),
      )
      primary.send(['end', pid])
      await until('it has ended by itself', () => exits.has(pid))
      expect(exits.get(pid)).to.equal(0)
      await acquainted(4)
      const total = stop()
      await until('all is heard', () =>
        stay.every(({ heard }) => stay.every((from) => heard.get(from.pid)?.length === total)),
      )
      const last = Array.from({ length: 200 }, (_, i) => `last ${i}`)
      for (const { heard } of stay) expect(heard.get(pid)).to.deep.equal(last)
      for (const { lost } of workers.values()) expect(lost).to.equal(0)
      await oneEach()
    }
    for (const pid of old) expect(workers.has(pid)).to.equal(false)
    for (const pid of [...workers.keys()]) primary.send(['end', pid])
    await until('all have ended', () => workers.size === 0)
    expect([...exits.values()]).to.deep.equal(Array(8).fill(0))
    const [root = ''] = readdirSync(folder)
    expect(root).to.equal(`koaws-${process.getuid?.()}`)
    expect(readdirSync(join(folder, root)), 'nothing is left behind').to.deep.equal([])
    expect(existsSync(folder)).to.equal(true)
  })

  it('count lost messages after one was stopped and cut', async () => {
    await oneEach()
    const [slow, one] = guests as [Guest, Guest]
    one.socket.json({ to: 'lobby', text: 'before' })
    await until('all hear', () => guests.every(({ heard }) => heard.get(one.pid)?.length === 1))
    process.kill(slow.pid, 'SIGSTOP')
    const others = guests.filter((guest) => guest !== slow)
    for (let sent = 5; sent <= 150; sent += 5) {
      for (let i = 0; i < 5; i++) one.socket.json({ to: 'lobby', large: 30_000 })
      await until('the others hear', () => others.every(({ large }) => large === sent))
    }
    one.socket.json({ to: 'lobby', text: 'middle' })
    await until('the others hear', () =>
      others.every(({ heard }) => heard.get(one.pid)?.includes('middle')),
    )
    await until('it is missed', () => others.every(({ pid }) => workers.get(pid)?.instances === 2))
    process.kill(slow.pid, 'SIGCONT')
    await acquainted(4)
    await until('it knows', () => (workers.get(slow.pid)?.lost ?? 0) > 0)
    one.socket.json({ to: 'lobby', text: 'after' })
    slow.socket.json({ to: 'lobby', text: 'here I am' })
    await until('all hear', () =>
      guests.every(
        ({ heard }) =>
          heard.get(one.pid)?.includes('after') && heard.get(slow.pid)?.includes('here I am'),
      ),
    )
    for (const { pid } of others) expect(workers.get(pid)?.lost).to.equal(0)
  })
})
