import { expect } from 'chai'
import { scriptedClient, settle } from './support/client.ts'
import type { ScriptedSocket } from './support/scripted-socket.ts'

/** Returns a function for numbers from 0 to `limit - 1`, the same ones for a seed. */
function dice(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return (state >>> 8) % limit
  }
}

/** A place in the record of the server; a message for the client has a text. */
interface Recorded {
  readonly position: string
  readonly text: string | undefined
}

/** A request for the state of the room. */
interface Load {
  snapshot?: { texts: string[]; position: string }
  done: () => void
}

/**
 * One room of a server with history, its database, and a client of it. The network keeps the order,
 * and loses what is in transit when the connection breaks.
 */
class World {
  /** The texts of all messages for the client: the state that the application must reach. */
  readonly database: string[] = []
  /** What the application shows. */
  shown: string[] = []
  readonly problems: string[] = []
  recoveries = 0
  refusals = 0
  readonly #roll: (limit: number) => number
  readonly #scripted = scriptedClient({
    minDelay: 1,
    positions: { room: 'e0.0.' },
    reload: () => this.#reload(),
  })
  #epoch = 0
  #record: Recorded[] = []
  /** The number of entries that were removed in this epoch. */
  #trimmed = 0
  #transit: object[] = []
  #isUp = false
  #loads: Load[] = []

  constructor(seed: number) {
    this.#roll = dice(seed)
    const { client } = this.#scripted
    client.on('said', (text) => this.shown.push(text as string))
    client.on('koaws:recovered', ({ recovered }) => {
      if (recovered) this.recoveries++
      else this.refusals++
    })
  }

  async run(): Promise<void> {
    for (let i = 0; i < 120; i++) {
      const choice = this.#roll(20)
      if (choice < 7) this.#publish(this.#roll(4) > 0)
      else if (choice < 13) this.#arrive()
      else if (choice < 15) await (this.#isUp ? this.#cut() : this.#connect())
      else if (choice === 15) this.#trim()
      else if (choice === 16 && this.#roll(3) === 0) this.#renew()
      else await this.#load()
    }
    if (!this.#isUp) await this.#connect()
    while (this.#transit.length > 0 || this.#loads.length > 0) {
      this.#arrive()
      await this.#load()
      await settle()
    }
    this.problems.push(...this.#scripted.errors.map(String))
    this.#scripted.client.close()
  }

  get #top(): string {
    return (
      this.#record.at(-1)?.position ?? `e${this.#epoch}.${this.#trimmed}.${this.#trimmed || ''}`
    )
  }

  get #socket(): ScriptedSocket {
    return this.#scripted.last
  }

  #send(message: object): void {
    if (this.#isUp) this.#transit.push(message)
  }

  #tell(type: string, data: object): void {
    this.#send({ type: `koaws:${type}`, data: { room: 'room', ...data } })
  }

  /** Records a message, for the client or not. */
  #publish(isForClient: boolean): void {
    const offset = this.#trimmed + this.#record.length + 1
    const position = `e${this.#epoch}.${offset}.${offset}`
    const text = isForClient ? `${position} ${this.database.length}` : undefined
    if (text !== undefined) this.database.push(text)
    this.#record.push({ position, text })
    this.#push({ position, text })
  }

  #push({ position, text }: Recorded): void {
    if (text === undefined) this.#tell('at', { position })
    else this.#send({ type: 'said', data: text, room: 'room', position })
  }

  #arrive(): void {
    const message = this.#transit.shift()
    if (message) this.#socket.json(message)
  }

  async #cut(): Promise<void> {
    this.#isUp = false
    this.#transit = []
    this.#socket.end(1006)
  }

  async #connect(): Promise<void> {
    this.#scripted.client.open()
    await settle()
    this.#socket.welcome()
    this.#isUp = true
    const position = this.#socket.resumed?.positions['room'] as string
    const [epoch, offset] = position.split('.') as [string, string]
    const missed = this.#record.slice(Number(offset) - this.#trimmed)
    if (epoch !== `e${this.#epoch}`) this.#refuse('epoch')
    else if (Number(offset) < this.#trimmed) this.#refuse('trimmed')
    else if (this.#roll(8) === 0) this.#refuse('limit')
    else {
      const count = missed.filter(({ text }) => text !== undefined).length
      this.#tell('recovered', { recovered: true, missed: count, position: this.#top })
      for (const one of missed) this.#push(one)
    }
  }

  #refuse(reason: string): void {
    this.#tell('recovered', { recovered: false, missed: null, reason, position: this.#top })
  }

  #trim(): void {
    const count = this.#roll(this.#record.length + 1)
    this.#trimmed += count
    this.#record = this.#record.slice(count)
  }

  /** The record begins anew; members are told. */
  #renew(): void {
    this.#epoch++
    this.#record = []
    this.#trimmed = 0
    this.#refuse('epoch')
  }

  /** The application asks for a snapshot; the server answers later, and the answer takes time. */
  async #reload(): Promise<string> {
    const load: Load = { done: () => {} }
    const answered = new Promise<void>((resolve) => {
      load.done = resolve
    })
    this.#loads.push(load)
    await answered
    const { texts, position } = load.snapshot as Required<Load>['snapshot']
    this.shown = texts
    return position
  }

  /** The next step of the oldest reload: the snapshot is taken, or it reaches the client. */
  async #load(): Promise<void> {
    const [load] = this.#loads
    if (!load) return
    if (!load.snapshot) load.snapshot = { texts: [...this.database], position: this.#top }
    else {
      this.#loads.shift()
      load.done()
      await settle()
    }
  }
}

describe('a client over random breaks, trims, new records and reloads', () => {
  it('shows each message once and in order, in 500 schedules', async () => {
    let recoveries = 0
    let refusals = 0
    for (let seed = 1; seed <= 500; seed++) {
      const world = new World(seed)
      await world.run()
      expect(world.problems, `seed ${seed}`).to.deep.equal([])
      expect(world.shown, `seed ${seed}`).to.deep.equal(world.database)
      recoveries += world.recoveries
      refusals += world.refusals
    }
    expect(recoveries).to.be.above(500)
    expect(refusals).to.be.above(500)
  }).timeout(60_000)
})
