/*
 * Requests with `retry` over connections that break at every stage, and instances that shut down:
 *
 *     npx tsx test/long/retry.ts [requests=1000000] [seed]
 *
 * Some rounds on instances that share a record in memory, some on instances of one machine, and some on
 * instances that share nothing. Ends with 1 when a request runs twice, hangs, or has a wrong answer.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterRetries } from '../../lib/adapters/cluster/retry/store.ts'
import { type Adapter, memoryAdapter } from '../../lib/index.ts'
import { memoryRetries } from '../../lib/retry/memory-store.ts'
import { type RetryEngine, type RetryReport, runRetryModel } from '../support/retry-model.ts'
import { runFuzz } from './support/fuzz.ts'
import { keepResult } from './support/results.ts'

const FULL = 1_000_000
/** 60 requests of each client are below the limit of keys of one user. */
const ROUND = { instances: 3, clients: 50, requests: 60 }
/**
 * Fewer on one machine, and less often disturbed: an answer passes several sockets, and would not arrive on a
 * connection that lasts some turns of a busy event loop.
 */
const ROUND_IN_CLUSTER = { ...ROUND, clients: 12, every: 30 }
/** How likely an instance is replaced at a disturbance. On one machine its records are handed over each time. */
const REPLACES = 0.1
const REPLACES_IN_CLUSTER = 0.01
/** Rounds that run at once: most of their time is spent waiting for reconnects. */
const AT_ONCE = 12
/** How long the processes of one machine keep a request, in milliseconds: less than otherwise, to need less memory. */
const KEPT_IN_CLUSTER = 30_000

/** An engine with a record that is sure of the past, as after some minutes. */
function sharing(): RetryEngine {
  const adapter = { ...memoryAdapter(), retries: memoryRetries(Number.NEGATIVE_INFINITY) }
  return { adapter: () => adapter }
}

const ALONE: RetryEngine = { adapter: () => undefined }

/** The record of one machine. One instance stays, so that the record is sure of the past after a while. */
class Machine implements RetryEngine {
  readonly #folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  readonly #resident = this.#open()

  adapter(): Adapter {
    return { ...memoryAdapter(), retries: () => this.#open() }
  }

  async close(): Promise<void> {
    await this.#resident.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #open(): ClusterRetries {
    const folder = join(this.#folder, 'app')
    return new ClusterRetries({ folder, interval: 500, most: 16_777_216, kept: KEPT_IN_CLUSTER })
  }
}

async function run(requests: number, seed: number): Promise<boolean> {
  console.log(`seeds from ${seed}`)
  const began = performance.now()
  const totals = { requests: 0, answered: 0, unknown: 0, refused: 0, cuts: 0, replaced: 0 }
  const wrong: string[] = []
  const add = (report: RetryReport, from: number): void => {
    for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += report[name]
    wrong.push(...report.wrong.map((what) => `seed ${from}: ${what}`))
    const settled = report.answered + report.unknown + report.refused
    if (settled !== report.requests) wrong.push(`seed ${from}: ${settled} settled`)
  }
  const machines = Array.from({ length: AT_ONCE }, (_, i) =>
    i === 2 || i === 5 ? new Machine() : null,
  )
  /** One of six kinds: with one of two shared records or without, with changes of instances or without. */
  const play = async (from: number, slot: number): Promise<void> => {
    const kind = slot % 6
    const machine = machines[slot]
    const engine = machine ?? (kind % 3 ? ALONE : sharing())
    const size = machine ? ROUND_IN_CLUSTER : ROUND
    const often = machine ? REPLACES_IN_CLUSTER : REPLACES
    const replaces = kind > 2 ? often : 0
    const report = await runRetryModel(from, engine, { ...size, replaces })
    // Without a change of instances, a shared record knows each outcome.
    if (kind === 0 && report.unknown > 0) wrong.push(`seed ${from}: ${report.unknown} unknown`)
    add(report, from)
  }
  for (let round = 0; totals.requests < requests; round += AT_ONCE) {
    const slots = Array.from({ length: AT_ONCE }, (_, i) => i)
    const isMachine = (slot: number): boolean => machines[slot] != null
    // Those of one machine have the event loop to themselves: each of their answers needs many turns.
    for (const some of [slots.filter((slot) => !isMachine(slot)), slots.filter(isMachine)]) {
      await Promise.all(some.map((slot) => play(seed + round + slot, slot)))
    }
    const last = wrong.at(-1) ?? ''
    process.stderr.write(`${totals.requests} requests, ${wrong.length} wrong ${last}\n`)
  }
  await Promise.all(machines.map((machine) => machine?.close()))
  for (const one of wrong.slice(0, 50)) console.log(one)
  const seconds = Math.round((performance.now() - began) / 100) / 10
  const result = { seed, ...totals, wrong: wrong.length, seconds }
  console.log(JSON.stringify(result))
  const isWell = wrong.length === 0
  if (isWell && totals.requests >= FULL) keepResult('retry', result)
  return isWell
}

runFuzz(FULL, run)
