import { Client } from './client.ts'
import { Connection } from './connection.ts'
import { Instance } from './instance.ts'
import { Judge } from './judge.ts'
import { Schedule } from './schedule.ts'
import { Store } from './store.ts'
import type { At, Flaw, Reason, Said } from './types.ts'

const ROOMS = ['a', 'b', 'c']
const INSTANCES = 3
const CLIENTS = 4
/** The interval at which instances look at the top, in milliseconds. */
const LOOK = 250
/** The time after the last action until all is quiet. */
const QUIET = 4_000
const MOST_STEPS = 300_000

/** What the parts of a run share. */
export interface World {
  readonly schedule: Schedule
  readonly store: Store
  readonly flaw: Flaw | null
  /** The number of entries that the store keeps of a room, and an instance in its ring. */
  readonly most: number
  /** The number of messages in one part of a replay. */
  readonly part: number
  readonly counts: Counts
  /** A member was told that it cannot be recovered. */
  refused(room: string, since: At | null, reason: Reason): void
}

interface Counts {
  published: number
  holes: number
  recovered: number
  refused: number
}

/** The result of one schedule. */
export interface RecoveryReport extends Readonly<Counts> {
  readonly delivered: number
  /** Messages that came again in a later stay in the room. */
  readonly again: number
  readonly renewals: number
  readonly steps: number
  /** A sentence for each mistake. */
  readonly wrong: readonly string[]
}

/**
 * Runs the receiving side of the recovery over one random schedule: a store with exact trimming that
 * may lose its tail, a bus that is slow and is cut, instances that die, and clients that come and go.
 * The seed decides everything.
 */
export function runRecovery(seed: number, flaw: Flaw | null = null): RecoveryReport {
  return new Run(seed, flaw).run()
}

class Run implements World {
  readonly schedule: Schedule
  readonly store: Store
  readonly flaw: Flaw | null
  readonly most: number
  readonly part: number
  readonly counts: Counts = { published: 0, holes: 0, recovered: 0, refused: 0 }
  readonly #wrong: string[] = []
  readonly #instances: readonly Instance[]
  readonly #clients: readonly Client[]
  #connections = 0

  constructor(seed: number, flaw: Flaw | null) {
    this.schedule = new Schedule(seed)
    const { schedule } = this
    this.flaw = flaw
    this.most = 12 + schedule.int(30)
    this.part = 3 + schedule.int(6)
    this.store = new Store(schedule, this.most, flaw)
    this.#instances = Array.from({ length: INSTANCES }, () => new Instance(this))
    this.#clients = Array.from({ length: CLIENTS }, (_, index) => {
      const wanted = ROOMS.filter(() => schedule.random() < 0.7)
      return new Client(index, new Set(wanted), flaw)
    })
  }

  run(): RecoveryReport {
    const { schedule, store, counts } = this
    const end = 1_200 + schedule.int(1_200)
    for (const client of this.#clients) {
      schedule.after(schedule.random() * 100, () => this.#connect(client))
    }
    this.#act(end)
    this.#look(end)
    schedule.run(end + QUIET, MOST_STEPS)
    let [delivered, again] = [0, 0]
    for (const client of this.#clients) {
      const judge = new Judge(client, store)
      judge.judge()
      this.#wrong.push(...judge.wrong)
      delivered += judge.delivered
      again += judge.again
    }
    const { renewals } = store
    const wrong = [...new Set(this.#wrong)]
    return { ...counts, delivered, again, renewals, steps: schedule.steps, wrong }
  }

  refused(room: string, since: At | null, reason: Reason): void {
    this.counts.refused++
    if (reason === 'ahead' || reason === 'epoch') {
      if (!this.store.hasLost) this.#wrong.push(`refused as "${reason}" although nothing was lost`)
    } else if (reason === 'trimmed' && since && !this.store.hasTrimmed(room, since)) {
      this.#wrong.push('refused as "trimmed" although nothing was trimmed')
    }
  }

  /** Lets clients and faults do something at random, until a time. */
  #act(end: number): void {
    const { schedule } = this
    const often = (least: number, spread: number, run: () => void): void =>
      schedule.often(least + schedule.random() * spread, end, run)
    // Some members join rooms that do not exist yet.
    const first = schedule.random() < 0.5 ? 0 : schedule.random() * 500
    schedule.after(first, () => often(2, 20, () => this.#publish()))
    often(60, 200, () => this.#cut(schedule.pick(this.#clients)))
    often(200, 400, () => this.#change(schedule.pick(this.#clients), schedule.pick(ROOMS)))
    often(300, 900, () => {
      const instance = schedule.pick(this.#instances)
      instance.cut()
      schedule.after(10 + schedule.random() * 60, () => instance.look())
    })
    often(900, 2_000, () => this.#kill(schedule.pick(this.#instances)))
    if (schedule.random() < 0.4) {
      often(500, 1_500, () => {
        this.store.lose(schedule.pick(ROOMS))
        for (const instance of this.#instances) {
          schedule.after(20 + schedule.random() * 200, () => instance.look())
        }
      })
    }
  }

  #look(end: number): void {
    this.schedule.after(LOOK, () => {
      for (const instance of this.#instances) instance.look()
      if (this.schedule.now < end + QUIET) this.#look(end)
    })
  }

  /** Publishes messages of one turn to one room or two. Each room records them at its own time. */
  #publish(): void {
    const { schedule, store } = this
    const many = schedule.random() < 0.25 ? 2 : 1
    const start = schedule.int(ROOMS.length)
    const rooms = [...ROOMS, ...ROOMS].slice(start, start + many)
    const author = schedule.random() < 0.4 ? schedule.pick(this.#clients) : undefined
    const except = author?.ids.at(-1) ?? 0
    const said = Array.from({ length: schedule.pick([1, 1, 1, 2, 4]) }, (): Said => {
      return { id: ++this.counts.published, rooms, except, author: author?.index }
    })
    for (const room of rooms) {
      schedule.after(many > 1 ? schedule.random() * 20 : 0, () => {
        const entry = store.record(room, said)
        for (const instance of this.#instances) {
          if (instance.isUp && instance.subscribed.has(room)) instance.carry(entry)
        }
      })
    }
  }

  #connect(client: Client): void {
    const { schedule } = this
    const up = this.#instances.filter(({ isUp }) => isUp)
    if (up.length === 0) {
      schedule.after(50, () => this.#connect(client))
      return
    }
    const id = ++this.#connections
    const connection = new Connection(schedule, client, schedule.pick(up), id)
    // The application decides anew which rooms are joined.
    for (const room of client.wanted) {
      schedule.after(schedule.delay(), () => {
        if (client.wanted.has(room)) connection.instance.join(connection, room)
      })
    }
  }

  /** Ends a connection. One side may notice it first: sent messages still arrive, or go nowhere. */
  #cut(client: Client): void {
    const { schedule } = this
    const { connection } = client
    if (!connection?.isOpen || !connection.arrives) return
    const [here, there] = schedule.pick([
      [0, 0],
      [0, schedule.delay()],
      [2 * schedule.delay(), 0],
    ] as const)
    schedule.after(here, () => connection.instance.drop(connection))
    schedule.after(there, () => {
      if (this.flaw !== 'old socket') connection.arrives = false
      schedule.after(2 + schedule.random() * 150, () => this.#connect(client))
    })
  }

  /** The application lets a client into a room, or out of it. */
  #change(client: Client, room: string): void {
    const { connection } = client
    if (!connection?.isOpen) return
    if (client.wanted.delete(room)) {
      connection.instance.leave(connection, room)
      return
    }
    client.wanted.add(room)
    connection.instance.join(connection, room)
  }

  #kill(instance: Instance): void {
    const { schedule } = this
    if (!instance.isUp) return
    for (const client of this.#clients) {
      const { connection } = client
      if (connection?.instance !== instance || !connection.isOpen) continue
      schedule.after(schedule.random() * 60, () => this.#connect(client))
    }
    instance.die()
    schedule.after(60 + schedule.random() * 100, () => {
      instance.isUp = true
    })
  }
}
