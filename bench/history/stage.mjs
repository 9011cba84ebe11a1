/** The processes of one part of history.mjs, and what all parts count. */
import { fileURLToPath } from 'node:url'
import { Child } from '../lib/children.mjs'
import { cpuOf, startEngine } from '../lib/redis-engine.mjs'
import { median, round } from '../lib/stats.mjs'

export const DIST = fileURLToPath(new URL('../../dist', import.meta.url))
export const HISTORY = { rooms: 'chat:*' }

let names = 0

/** Instances that share one engine, on core 0, and the process of their clients, on core 1. */
export class Stage {
  instances = []
  addresses = []
  clients
  /** Whether the code of the processes has been compiled by long use. */
  isWarm = false
  #engine = null
  #adapter
  #name = `bench-${process.pid}-${++names}`

  /** @param adapter none, redis or cluster */
  constructor(adapter) {
    this.#adapter = adapter
    this.clients = new Child('clients', '../history/clients.mjs', 1)
  }

  /** Starts one more instance. Resolves when it knows all others. */
  async add({ dist = DIST, history = HISTORY } = {}) {
    if (this.#adapter === 'redis') this.#engine ??= await startEngine()
    const name = `${this.#adapter} ${this.instances.length}`
    const instance = new Child(name, '../servers/history.mjs', 0)
    this.instances.push(instance)
    const options = { dist, history, adapter: this.#adapter, redis: this.#engine?.port }
    this.addresses.push(await instance.call('start', { ...options, name: this.#name }))
    const others = this.#adapter === 'none' ? 0 : this.instances.length - 1
    await Promise.all(this.instances.map((one) => one.call('ready', { others })))
    return instance
  }

  /** The CPU time until now, in microseconds. */
  async cpu(instances = this.instances) {
    const own = await Promise.all(instances.map((one) => one.call('cpu')))
    return {
      servers: own.reduce((sum, one) => sum + one, 0),
      redis: this.#engine ? cpuOf(this.#engine.pid) : 0,
    }
  }

  /** Runs something. Returns its figures with the CPU time that it took. @throws when it has errors */
  async measure(run, instances) {
    const before = await this.cpu(instances)
    const figures = await run()
    const after = await this.cpu(instances)
    if (Object.keys(figures.errors).length > 0) throw new Error(JSON.stringify(figures.errors))
    return {
      ...figures,
      serversUs: after.servers - before.servers,
      redisUs: after.redis - before.redis,
    }
  }

  /** Rejects when an instance has lost, refused or dropped something. */
  async check() {
    for (const instance of this.instances) {
      const { lost, drops } = await instance.call('status')
      const counted = Object.entries(drops).filter(([, many]) => many > 0)
      if (lost > 0 || counted.length > 0) {
        throw new Error(`lost ${lost}, drops ${JSON.stringify(Object.fromEntries(counted))}`)
      }
    }
  }

  async stop() {
    await Promise.all([this.clients, ...this.instances].map((one) => one.stop()))
    await this.#engine?.stop()
  }
}

/** The median, least and largest of a figure. */
export function spreadOf(rows, figure, digits = 2) {
  const values = rows.map((row) => row[figure]).filter((value) => Number.isFinite(value))
  if (values.length === 0) return undefined
  return {
    median: round(median(values), digits),
    min: round(Math.min(...values), digits),
    max: round(Math.max(...values), digits),
  }
}

/** "1.2 (1.1 to 1.4)" */
export const shown = (spread) =>
  spread ? `${spread.median} (${spread.min} to ${spread.max})` : '–'

/** Runs each of some things in every round, in a rotating order. A failure loses one of them its round. */
export async function interleaved(names, count, failures, run) {
  for (let i = 0; i < count; i++) {
    const shift = i % names.length
    for (const name of [...names.slice(shift), ...names.slice(0, shift)]) {
      try {
        await run(name, i)
      } catch (error) {
        const why = String(error.message).split('\n')[0]
        failures.push({ name, round: i, error: why })
        console.log(`  lost: ${name}, round ${i}: ${why}`)
      }
    }
  }
}

/** The same with two decimals. */
export const rounded = (value) => {
  if (typeof value === 'number') return round(value, 2)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, rounded(one)]))
}
