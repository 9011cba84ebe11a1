// A model of streams: the real client and the real classes of the server, over simulated connections and instances.
import { type Client, connect, type WebSocketClass } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import type { ProtocolDefinition } from '../../lib/protocol/definition.ts'
import { randomOf } from './recovery-model.ts'
import { turn } from './server.ts'
import { applyFlaw, type StreamFlaw, type WireFlaw, wireFlaw } from './streams-flaws.ts'
import { handlerOf, judgeRuns, type Run } from './streams-runs.ts'
import { type ServedConnection, type SimulatedInstance, SimulatedSite } from './streams-site.ts'
import { type Account, playStream, playUpload } from './streams-user.ts'
import { VirtualTime } from './virtual-time.ts'

/** What some schedules have done. */
export interface StreamsReport {
  schedules: number
  streams: number
  items: number
  cuts: number
  ended: number
  lostNotes: number
  /** How the streams ended, by code. */
  outcomes: Record<string, number>
  wrong: string[]
}

export function createStreamsReport(): StreamsReport {
  return {
    schedules: 0,
    streams: 0,
    items: 0,
    cuts: 0,
    ended: 0,
    lostNotes: 0,
    outcomes: {},
    wrong: [],
  }
}

/** Nothing takes longer than this in a schedule, in milliseconds: the timeouts of both sides, one after the other. */
const MOST = 1_800_000

/** Runs the schedule of a seed, and adds what it has done to a report. */
export async function runStreamsModel(
  seed: number,
  report: StreamsReport,
  flaw?: StreamFlaw,
): Promise<void> {
  const undo = flaw && applyFlaw(flaw)
  const world = new World(seed, report, flaw)
  const restore = world.time.install(world.random)
  try {
    await world.run()
  } catch (error) {
    report.wrong.push(`seed ${seed}: ${String((error as Error).stack)}`)
  } finally {
    restore()
    undo?.()
  }
  report.schedules++
}

class World {
  readonly time = new VirtualTime()
  readonly random: () => number
  readonly runs = new Map<number, Run>()
  readonly #seed: number
  readonly #report: StreamsReport
  readonly #site: SimulatedSite
  readonly #flaw: WireFlaw | undefined
  /** Whether notes between instances are lost. */
  readonly #losesNotes: boolean
  readonly #isSlow: boolean
  /** Whether the streams may hold so little that answers are forgotten. */
  readonly #isTight: boolean
  readonly #pipes = new Set<Pipe>()
  #cuts = 0
  #ended = 0
  #lost = 0

  constructor(seed: number, report: StreamsReport, flaw: StreamFlaw | undefined) {
    this.#seed = seed
    this.#report = report
    this.#flaw = wireFlaw(flaw)
    this.random = randomOf(seed)
    this.#losesNotes = this.chance(0.25)
    this.#isSlow = this.chance(0.5)
    this.#isTight = this.chance(0.1)
    const bytes = this.#isTight ? 40_000 : undefined
    this.#site = new SimulatedSite(
      {
        time: this.time,
        handle: (type, asked) => handlerOf(type, asked, this.runs, this.time),
        travel: () => this.#travel(),
        authorization: () => (this.#isSlow ? this.below(80) : 0),
        wrong: (what) => this.wrong(what),
      },
      { bytes, perConnection: 8, perUser: 32 },
    )
    for (let i = 1 + this.below(3); i > 0; i--) this.#site.add()
  }

  chance(share: number): boolean {
    return this.random() < share
  }

  below(most: number): number {
    return Math.floor(this.random() * most)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  wrong(what: string): void {
    this.#report.wrong.push(`seed ${this.#seed}: ${what}`)
  }

  async run(): Promise<void> {
    const clients = Array.from({ length: 1 + this.below(2) }, () => this.#client())
    const accounts = clients.flatMap((client) =>
      Array.from({ length: 1 + this.below(3) }, () => this.#play(client)),
    )
    for (let i = this.below(8); i > 0; i--) this.time.after(this.below(3_000), () => this.#harm())
    await this.#until(() => accounts.every(({ isSettled }) => isSettled))
    for (const account of accounts) this.#judge(account)
    for (const client of clients) client.close()
    await this.#until(() => false) // nothing is left to happen
    this.#judgeEnd()
    const report = this.#report
    report.streams += accounts.length
    report.cuts += this.#cuts
    report.ended += this.#ended
    report.lostNotes += this.#lost
    for (const { items, outcome } of accounts) {
      report.items += items
      report.outcomes[outcome] = (report.outcomes[outcome] ?? 0) + 1
    }
  }

  /** Lets time pass until a condition holds, or nothing is left to wait for. */
  async #until(condition: () => boolean): Promise<void> {
    const end = this.time.now + MOST
    for (;;) {
      await turn()
      if (condition() || this.time.now > end) return
      if (!this.time.step()) {
        await turn() // the last step may have scheduled more
        if (condition() || !this.time.step()) return
      }
    }
  }

  #client(): Client<ProtocolDefinition> {
    const world = this
    class Socket extends Pipe {
      constructor() {
        super(world)
      }
    }
    return connect('ws://model/', {
      WebSocket: Socket as unknown as WebSocketClass,
      minDelay: 1,
      maxDelay: 1_000,
      streams,
    } as never)
  }

  #play(client: Client<ProtocolDefinition>): Account {
    const number = this.runs.size + 1
    const run = newRun(number)
    this.runs.set(number, run)
    return this.chance(0.7)
      ? playStream(client, run, this, this.time)
      : playUpload(client, run, this, this.time)
  }

  /** Cuts a connection, ends an instance or starts one. */
  #harm(): void {
    const dice = this.random()
    const alive = this.#site.alive
    if (dice < 0.8 || alive.length === 0) {
      for (const pipe of this.#pipes) {
        if (!pipe.cut()) continue
        this.#cuts++
        return
      }
    } else if (dice < 0.9 && alive.length > 1) {
      this.#ended++
      this.#site.end(this.pick(alive), this.chance(0.5))
    } else this.#site.add()
  }

  #travel(): number | null {
    if (this.#losesNotes && this.chance(0.08)) {
      this.#lost++
      return null
    }
    return 1 + this.below(this.#isSlow ? 60 : 4)
  }

  #judge({ what, faults, isSettled, outcome, run, resumes, isStalled }: Account): void {
    for (const fault of faults) this.wrong(`${what}: ${fault}`)
    if (!isSettled) this.wrong(`${what}: hangs`)
    const harmed = this.#ended > 0 || this.#lost > 0 || this.#isTight
    const allowed: Record<string, boolean> = {
      done: true,
      left: true,
      aborted: true,
      boom: run.threw,
      ERR_KOAWS_CLOSED: !resumes && this.#cuts + this.#ended > 0,
      ERR_KOAWS_STREAM_LOST: harmed,
      ERR_KOAWS_STREAM_IDLE: isStalled,
      ERR_KOAWS_STREAM_MEMORY: this.#site.all.some(({ drops }) => drops['streamMemory']),
    }
    if (!allowed[outcome]) this.wrong(`${what}: ended with ${outcome}`)
  }

  #judgeEnd(): void {
    for (const fault of judgeRuns(this.runs)) this.wrong(fault)
    if (this.time.timers > 0) this.wrong(`${this.time.timers} timers are left`)
    for (const { id, streams: left, connections } of this.#site.all) {
      if (left.held.total !== 0) this.wrong(`${id} holds ${left.held.total} bytes`)
      if (left.kept !== 0) this.wrong(`${id} keeps ${left.kept} streams`)
      if (connections.size > 0) this.wrong(`${id} has ${connections.size} connections`)
      let free = 0
      while (free < 40 && left.enter('ann')) free++
      if (free !== 32 && free !== 0) this.wrong(`${32 - free} streams of the user are left`)
    }
  }

  // ---- for the pipes

  get flaw(): WireFlaw | undefined {
    return this.#flaw
  }

  get delay(): number {
    return this.below(this.#isSlow ? 40 : 3)
  }

  pickInstance(): SimulatedInstance | undefined {
    return this.#site.alive.length > 0 ? this.pick(this.#site.alive) : this.#site.add()
  }

  serve(instance: SimulatedInstance, pipe: Pipe): ServedConnection {
    this.#pipes.add(pipe)
    return this.#site.serve(instance, pipe.peer)
  }

  ended(pipe: Pipe): void {
    this.#pipes.delete(pipe)
  }
}

function newRun(number: number): Run {
  return { number, started: 0, ended: 0, threw: false, sent: 0, got: 0 }
}

/** A WebSocket of the client, and its connection to an instance. Texts keep their order. */
class Pipe {
  readyState = 0
  protocol = ''
  onopen: ((event: object) => void) | null = null
  onmessage: ((event: object) => void) | null = null
  onerror: ((event: object) => void) | null = null
  onclose: ((event: object) => void) | null = null
  readonly #world: World
  #served: ServedConnection | undefined
  #isCut = false
  /** Texts that were on their way when the connection was cut arrive, as long as the server does not notice it. */
  #isLate = false
  /** When the last text in each direction arrives. */
  readonly #arrival = { up: 0, down: 0 }

  constructor(world: World) {
    this.#world = world
    world.time.after(world.delay + 1, () => this.#open())
  }

  send(text: string): void {
    if (this.#world.flaw?.(text, 'up') === null) return
    this.#carry('up', () => {
      this.#served?.receive(text)
    })
  }

  /** The client closes, or has given up the connection. */
  close(): void {
    this.readyState = 3
    this.#carry('up', () => this.#gone())
  }

  /** For the server. */
  readonly peer = {
    send: (text: string): void => {
      const { flaw } = this.#world
      for (const one of (flaw ? flaw(text, 'down') : [text]) ?? []) {
        this.#carry('down', () => {
          this.onmessage?.({ data: one })
        })
      }
    },
    close: (code: number): void => {
      this.#carry('down', () => this.#closed(code))
      this.#gone()
    },
  }

  /** Cuts the connection. One side may notice it later than the other. Returns false if it is cut already. */
  cut(): boolean {
    if (this.#isCut || this.readyState !== 1) return false
    this.#isCut = true
    this.#isLate = this.#world.chance(0.3)
    const late = (): number => (this.#world.chance(0.4) ? this.#world.below(5_000) : 0)
    this.#world.time.after(late(), () => this.#gone())
    this.#world.time.after(late(), () => this.#closed(1006))
    return true
  }

  #open(): void {
    const instance = this.#world.pickInstance()
    if (this.readyState !== 0 || !instance) return
    this.#served = this.#world.serve(instance, this)
    this.readyState = 1
    this.protocol = 'koaws.v1'
    this.onopen?.({})
    const data = { version: 1, connection: 'c', user: 'ann', heartbeat: null, maxMessage: 65_536 }
    this.peer.send(JSON.stringify({ type: 'koaws:welcome', data: { ...data, retry: 120_000 } }))
  }

  #carry(way: 'up' | 'down', arrive: () => void): void {
    const { time, delay } = this.#world
    const due = Math.max(time.now + delay, this.#arrival[way])
    this.#arrival[way] = due
    time.after(due - time.now, () => {
      if (!this.#isCut || (this.#isLate && way === 'up')) arrive()
    })
  }

  #gone(): void {
    this.#served?.closed()
    this.#world.ended(this)
  }

  #closed(code: number): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.onclose?.({ code, reason: '' })
  }
}
