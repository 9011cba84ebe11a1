import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import WebSocket from 'ws'
import { Pm2 } from '../../deploys/support/pm2.ts'
import { freePort } from '../../support/free-port.ts'
import { pause, until } from './support/mesh.ts'

const WORKER = fileURLToPath(new URL('./support/pm2-worker.mjs', import.meta.url))

interface Heard {
  text?: string
  from?: number
  pid?: number
  state?: string
  instances?: number
  lost?: number
}

/** A client that reconnects whenever its connection ends. */
class Guest {
  readonly heard: Heard[] = []
  readonly closes: number[] = []
  readonly #url: string
  #socket: WebSocket | null = null
  #stopped = false

  constructor(url: string) {
    this.#url = url
    this.#connect()
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  say(text: string): void {
    if (this.isOpen) this.#socket?.send(text)
  }

  /** Asks the worker for its state. */
  async who(): Promise<Heard> {
    const before = this.heard.length
    const answer = (): Heard | undefined =>
      this.heard.slice(before).find(({ pid }) => pid !== undefined)
    this.say('who')
    await until('it answers', () => answer() !== undefined)
    return answer() as Heard
  }

  stop(): void {
    this.#stopped = true
    this.#socket?.terminate()
  }

  #connect(): void {
    if (this.#stopped) return
    const socket = new WebSocket(this.#url)
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('message', (data) => this.heard.push(JSON.parse(String(data)) as Heard))
    socket.on('close', (code) => {
      this.closes.push(code)
      setTimeout(() => this.#connect(), 20)
    })
  }
}

describe('clusterAdapter() under PM2', function () {
  this.timeout(240_000)
  const pm2 = new Pm2()
  const guests: Guest[] = []

  before(async () => {
    const port = await freePort()
    await pm2.startMesh(WORKER, { PORT: String(port) })
    for (let i = 0; i < 9; i++) guests.push(new Guest(`ws://127.0.0.1:${port}/`))
  })

  after(async () => {
    for (const guest of guests) guest.stop()
    await pm2.kill()
  })

  /**
   * Waits until all guests are connected to workers that know each other. @returns the process ids of the
   * workers
   */
  async function settled(): Promise<Set<number>> {
    for (const deadline = Date.now() + 60_000; ; await pause(20)) {
      if (guests.every(({ isOpen }) => isOpen)) {
        const states = await Promise.all(guests.map((guest) => guest.who()))
        const pids = new Set(states.map(({ pid }) => pid as number))
        const joined = states.every(({ state, instances }) => state === 'ready' && instances === 2)
        if (pids.size >= 2 && joined) return pids
      }
      if (Date.now() > deadline) throw new Error('the guests are not in')
    }
  }

  /** Expects that each message of each guest reaches all guests once. */
  async function allHearAll(): Promise<void> {
    const mark = `${Math.random()}`
    for (const [i, guest] of guests.entries()) guest.say(`${mark} ${i}`)
    const texts = ({ heard }: Guest): string[] =>
      heard.flatMap(({ text }) => (text?.startsWith(mark) ? [text.slice(mark.length + 1)] : []))
    await until('all hear all', () => guests.every((guest) => texts(guest).length >= guests.length))
    await pause(50)
    for (const guest of guests) {
      expect(texts(guest).sort()).to.deep.equal(guests.map((_, i) => String(i)))
    }
  }

  it('connects the workers', async () => {
    await settled()
    await allHearAll()
    const senders = new Set(guests.flatMap(({ heard }) => heard.map(({ from }) => from)))
    senders.delete(undefined)
    expect(senders.size).to.be.above(1)
  })

  it('replaces all workers in a reload, and clients that reconnect are connected again', async () => {
    const before = await settled()
    for (const { closes } of guests) closes.length = 0
    let said = 0
    const talk = setInterval(() => guests[said % guests.length]?.say(`talk ${said++}`), 5)
    await pm2.run(['reload', 'mesh'])
    clearInterval(talk)
    const now = await settled()
    for (const pid of before) expect(now.has(pid)).to.equal(false)
    for (const { closes } of guests) expect(closes).to.include(1012)
    await allHearAll()
  })

  it('reports a killed worker as gone at once, and connects its successor', async () => {
    await settled()
    const states = await Promise.all(guests.map((guest) => guest.who()))
    const dead = states[0]?.pid as number
    const stay = guests.filter((_, i) => states[i]?.pid !== dead)
    process.kill(dead, 'SIGKILL')
    const mark = `${Math.random()}`
    for (let i = 0; i < 100; i++) {
      stay[0]?.say(`${mark} ${i}`)
      await pause(2)
    }
    for (const { heard } of stay) {
      const texts = (): (string | undefined)[] =>
        heard.flatMap(({ text }) => (text?.startsWith(mark) ? [text] : []))
      await until('all is heard', () => texts().length === 100)
      expect(texts()).to.deep.equal(Array.from({ length: 100 }, (_, i) => `${mark} ${i}`))
    }
    expect(await settled()).to.not.include(dead)
    await allHearAll()
    const lost = states.filter(({ pid }) => pid !== dead).map((state) => state.lost)
    const after = await Promise.all(stay.map((guest) => guest.who()))
    expect(after.map((state) => state.lost)).to.deep.equal(lost)
  })
})
