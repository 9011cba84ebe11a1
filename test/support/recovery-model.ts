import Koa from 'koa'
import { placeOf } from '../../lib/history/place.ts'
import type { Place } from '../../lib/history/store.ts'
import koaWs, { type Adapter, accept, messages } from '../../lib/index.ts'
import { testApp } from '../../lib/testing/index.ts'
import {
  type Instance,
  ModelClient,
  type RecoveryEngine,
  type RecoveryReport,
} from './recovery-client.ts'

/** The size of the schedules. */
export interface RecoverySize {
  /** @default 120 */
  steps?: number
  /** The clients of one schedule. @default 4 */
  clients?: number
  /** The most messages that a room keeps, about. @default 27 */
  kept?: number
  /** Whether instances are replaced. @default false */
  replaces?: boolean
}

/** How often the instances that all schedules share are damaged, in one run of them. */
const HARMS = 12
/** How long the last messages may take after all damage has ended, in milliseconds. */
const TAIL = 60_000

/** Returns numbers that a seed determines. */
export function randomOf(seed: number): () => number {
  let state = (Math.imul(seed, 2_654_435_761) + 99) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Runs one schedule: see `runRecoveryModels()`. */
export function runRecoveryModel(
  seed: number,
  engine: RecoveryEngine,
  size: RecoverySize = {},
): Promise<RecoveryReport> {
  return runRecoveryModels([seed], engine, size)
}

/**
 * Runs schedules of random publishes, joins, leaves, cuts and damage over the same real hubs, at the same time. Each
 * has rooms and clients of its own. The clients go by the wire protocol only: each message of a room once, in order,
 * without a hole, or word that it is missing. The first seed decides about the hubs.
 */
export async function runRecoveryModels(
  seeds: readonly number[],
  engine: RecoveryEngine,
  size: RecoverySize = {},
): Promise<RecoveryReport> {
  const report: RecoveryReport = {
    wrong: [],
    published: 0,
    delivered: 0,
    recovered: 0,
    refused: {},
    told: 0,
    replaced: 0,
  }
  const random = randomOf(seeds[0] ?? 0)
  const site = new Site(engine, report, Math.ceil((size.kept ?? 27) * (0.5 + random())))
  for (let i = 1 + Math.ceil(random() * 2); i > 0; i--) await site.add()
  await site.ready()
  const schedules = seeds.map((seed, i) => {
    return new Schedule(i, randomOf(seed), site, size, Math.min(1, HARMS / seeds.length))
  })
  for (const { logs } of schedules) site.logs.push(...logs)
  await Promise.all(schedules.map((one) => one.run()))
  engine.heal()
  await Promise.all(schedules.map((one) => one.end()))
  await site.close()
  return report
}

/** The instances that schedules share. */
class Site {
  readonly instances: Instance[] = []
  readonly engine: RecoveryEngine
  readonly report: RecoveryReport
  readonly logs: string[] = []
  readonly #kept: number
  #adapters = 0
  #isReplacing = false
  readonly #closing: Promise<void>[] = []

  constructor(engine: RecoveryEngine, report: RecoveryReport, kept: number) {
    this.engine = engine
    this.report = report
    this.#kept = kept
  }

  async add(): Promise<void> {
    this.instances.push(instance(await this.engine.adapter(this.#adapters++), this.#kept))
  }

  /** Resolves when all instances reach the history. */
  async ready(): Promise<void> {
    for (const { hub } of this.instances) {
      while (
        !(await hub
          .room('chat:up')
          .position()
          .catch(() => null))
      )
        await pause(5)
    }
  }

  /** Ends an instance, and starts another. @param isDeath whether it dies, if the engine can do that */
  async replace(index: number, isDeath: boolean): Promise<void> {
    if (this.#isReplacing) return
    this.#isReplacing = true
    await this.add()
    const [gone] = this.instances.splice(index, 1)
    if (gone) this.#remove(gone, isDeath)
    this.report.replaced++
    this.#isReplacing = false
  }

  /** Returns what the instances say of themselves. */
  states(): string {
    return this.instances
      .map(({ hub, clients }) => {
        const { id, backplane, history } = hub.status()
        const { state, why, queued } = backplane
        return JSON.stringify({ id, state, why, queued, history, clients: clients.size })
      })
      .join(' ')
  }

  async close(): Promise<void> {
    for (const { hub } of this.instances.splice(0)) this.#closing.push(hub.close({ timeout: 100 }))
    await Promise.all(this.#closing)
  }

  #remove({ adapter, hub, clients }: Instance, isDeath: boolean): void {
    if (isDeath && this.engine.kill) {
      for (const client of clients) client.cut()
      this.engine.kill(adapter)
    }
    this.#closing.push(hub.close({ timeout: 100 }))
  }
}

/** One schedule, with rooms and clients of its own. */
class Schedule {
  readonly logs: readonly string[]
  readonly #rooms: readonly string[]
  readonly #random: () => number
  readonly #site: Site
  readonly #size: RecoverySize
  readonly #harm: number
  readonly #clients: ModelClient[]

  /** @param harm the share of its damage that it does */
  constructor(number: number, random: () => number, site: Site, size: RecoverySize, harm: number) {
    this.#random = random
    this.#site = site
    this.#size = size
    this.#harm = harm
    this.#rooms = ['a', 'b', 'c'].map((name) => `chat:${number}${name}`)
    this.logs = this.#rooms.map((room) => `room:${room}`)
    this.#clients = Array.from(
      { length: size.clients ?? 4 },
      (_, i) => new ModelClient(`${number}.${i}`, site.engine, site.report),
    )
  }

  async run(): Promise<void> {
    const { instances, engine } = this.#site
    await Promise.all(this.#clients.map((client) => this.#connect(client)))
    await Promise.all(this.#clients.map((client) => this.#placed(client)))
    for (let step = this.#size.steps ?? 120; step > 0; step--) {
      const dice = this.#random()
      const client = this.#pick(this.#clients)
      if (!client.isConnected) await this.#connect(client)
      if (dice < 0.6) this.#publish(client)
      else if (dice < 0.7) {
        if (this.#random() < 0.7) await this.#placed(client)
        client.cut()
        await this.#connect(client)
      } else if (dice < 0.78) client.toggle(this.#pick(this.#rooms))
      else if (dice < 0.88 && this.#random() < this.#harm) {
        const ids = instances.map(({ hub }) => hub.status().id)
        const isEnd = this.#size.replaces === true && this.#random() < 0.06
        if (isEnd) await this.#site.replace(this.#below(instances.length), this.#random() < 0.5)
        else engine.harm((n) => this.#below(n), ids, this.#site.logs)
      }
      if (this.#random() < 0.5) await pause(this.#below(engine.pace ?? 4))
    }
  }

  /** Each room gets messages until every member has seen its last one, or the time is up. */
  async end(): Promise<void> {
    const { engine } = this.#site
    const deadline = Date.now() + TAIL
    let isDone = false
    for (let round = 0; !isDone && Date.now() < deadline; round++) {
      for (const client of this.#clients) if (!client.isConnected) await this.#connect(client)
      if (round % 10 === 0) {
        for (const room of this.#rooms) {
          this.#pick(this.#site.instances).hub.room(room).push('said', -round)
        }
      }
      await pause((engine.pace ?? 4) * (1 + round))
      isDone = (await this.#behind()).length === 0
    }
    if (!isDone) this.#site.report.wrong.push(...(await this.#behind()), this.#site.states())
    for (const client of this.#clients) client.cut()
  }

  async #behind(): Promise<string[]> {
    const { instances } = this.#site
    const tops = new Map<string, Place | null>()
    for (const room of this.#rooms) {
      const position = await instances[0]?.hub
        .room(room)
        .position()
        .catch(() => null)
      tops.set(room, placeOf(position)) // null while the engine is away
    }
    return this.#clients.flatMap((client) => client.behind(tops))
  }

  /** Waits until a client has its positions: before that, it has nothing to recover. But an engine may be away. */
  async #placed(client: ModelClient): Promise<void> {
    for (let i = 0; i < 100 && !client.isPlaced; i++) await pause(5 + i)
  }

  #connect(client: ModelClient): Promise<void> {
    const rooms = this.#rooms.filter(() => this.#random() < 0.7)
    return client.connect(this.#pick(this.#site.instances), rooms)
  }

  #publish(author: ModelClient): void {
    const { report, instances } = this.#site
    const { hub } = this.#pick(instances)
    const rooms = [this.#pick(this.#rooms)]
    if (this.#random() < 0.25) rooms.push(this.#pick(this.#rooms))
    const many = this.#random() < 0.2 ? 1 + this.#below(4) : 1
    for (let i = 0; i < many; i++) {
      const data = ++report.published
      const own = this.#random() < 0.3 ? author.ownConnection(instances) : undefined
      if (own) {
        author.sends(data)
        own.to(...rooms).push('said', data)
      } else hub.room(...rooms).push('said', data)
    }
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T
  }
}

function instance(adapter: Adapter, kept: number): Instance {
  const app = new Koa()
  app.silent = true
  const hub = koaWs({
    adapter,
    heartbeat: false,
    history: { rooms: 'chat:*', messages: kept, ttl: 60_000 },
  })
  app.use(hub)
  const rooms = (ctx: Koa.Context): string[] =>
    String(ctx.query['rooms'])
      .split(',')
      .filter((name) => name !== '')
  // Recoveries are limited for each user.
  const user = (ctx: Koa.Context): string => String(ctx.query['user'])
  app.use(accept(messages(), { rooms, user }))
  return { adapter, hub, test: testApp(app), clients: new Set() }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)))
}
