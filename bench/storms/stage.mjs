import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ended } from '../lib/ended.mjs'

/** A process that answers commands. */
class Player {
  #process
  #pending = new Map()
  #last = 0

  constructor(file, args) {
    const path = fileURLToPath(new URL(file, import.meta.url))
    this.#process = fork(path, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    this.#process.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#pending.get(id) ?? {}
      this.#pending.delete(id)
      if (error === undefined) resolve?.(result)
      else reject?.(new Error(error))
    })
    this.#process.on('exit', (code, signal) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`ended: ${signal ?? code}`))
      this.#pending.clear()
    })
    this.ready = this.#answer(0)
  }

  call(command, args) {
    const id = ++this.#last
    const answer = this.#answer(id)
    this.#process.send({ id, command, args })
    return answer
  }

  async stop() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const end = ended(this.#process)
    this.#process.kill('SIGKILL')
    await end
  }

  #answer(id) {
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }))
  }
}

/** Processes of one storm over one build of koaws. */
export class Stage {
  #dist
  #folder = mkdtempSync(join(tmpdir(), 'storm-'))
  #players = []

  constructor(dist) {
    this.#dist = dist
  }

  async worker() {
    const worker = await this.#start('./worker.mjs', [this.#dist, this.#folder])
    worker.port = await worker.call('port')
    await worker.call('begin')
    return worker
  }

  /** @param rooms the rooms to join */
  async client(worker, rooms) {
    const client = await this.#start('./client.mjs', [])
    await client.call('open', { port: worker.port, rooms })
    return client
  }

  async clear() {
    await Promise.all(this.#players.map((player) => player.stop()))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #start(file, args) {
    const player = new Player(file, args)
    this.#players.push(player)
    await player.ready
    return player
  }
}

/** Waits until the workers know each other, for at most this many milliseconds. */
export async function acquainted(workers, within = 15_000) {
  for (const end = Date.now() + within; Date.now() < end; await wait(50)) {
    const counts = await Promise.all(workers.map((worker) => worker.call('counts')))
    if (counts.every(({ backplane }) => backplane.instances >= workers.length - 1)) return true
  }
  return false
}

/** Waits until a number stops growing. */
export async function settled(read, quiet = 1_500, longest = 20_000) {
  let [last, since] = [await read(), Date.now()]
  for (const end = Date.now() + longest; Date.now() < end && Date.now() - since < quiet; ) {
    await wait(100)
    const now = await read()
    if (now !== last) [last, since] = [now, Date.now()]
  }
  return last
}

export function percentile(values, share) {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  return Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(2))
}

export const echoOf = (echoes) => ({
  count: echoes.length,
  p50: percentile(echoes, 0.5),
  p99: percentile(echoes, 0.99),
  max: percentile(echoes, 1),
})
