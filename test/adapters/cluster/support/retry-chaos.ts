import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomOf } from '../../../support/recovery-model.ts'
import { meshFolder, pause } from './mesh.ts'
import { isRejected, openProcesses, RetryProcess } from './retry-process.ts'

/** What a run has seen. */
export interface ChaosReport {
  readonly requests: number
  readonly runs: number
  readonly answered: number
  readonly unknown: number
  readonly refused: number
  readonly ends: number
  readonly wrong: readonly string[]
}

type Result = { state?: string; answer?: string; rejected?: string }

/** The size of a run. */
export interface ChaosSize {
  readonly requests: number
  readonly atOnce: number
  readonly processes: number
  /** The pause between two ends of processes, in milliseconds. */
  readonly between: number
  /** How long a record is kept, in milliseconds. */
  readonly kept: number
}

/**
 * Sends each request to several processes, while processes are killed, closed, stopped for a moment, and
 * replaced. Each process notes in a file what it may run.
 */
export async function runRetryChaos(seed: number, size: ChaosSize): Promise<ChaosReport> {
  const random = randomOf(seed)
  const below = (most: number): number => Math.floor(random() * most)
  const runs = join(meshFolder(), 'runs')
  writeFileSync(runs, '')
  const all = await openProcesses(size.processes, size.kept)
  const any = (): RetryProcess => all[below(all.length)] as RetryProcess
  const counts = { answered: 0, unknown: 0, refused: 0, ends: 0 }
  const wrong: string[] = []
  let isOver = false

  const harm = async (): Promise<void> => {
    while (!isOver) {
      await pause(size.between)
      const [victim] = all.splice(below(all.length), 1) as [RetryProcess]
      const kind = below(3)
      if (kind === 0) await victim.kill()
      else if (kind === 1) await victim.close()
      else {
        victim.child.kill('SIGSTOP')
        await pause(below(1_500))
        victim.child.kill('SIGCONT')
        all.push(victim)
        continue
      }
      counts.ends++
      const next = new RetryProcess(size.kept)
      await next.answers()
      all.push(next)
    }
  }

  /** One arrival, on a process that stays the same. Runs the request if it is the first. */
  const arrive = async (id: string, again: boolean): Promise<void> => {
    const at = any()
    const until = performance.now() + 5_000
    let result: Result = { rejected: 'not asked' }
    while (performance.now() < until) {
      const ask = result.state === 'running' ? 'look' : 'claim'
      result = (await at.call(ask, id, 'h', again)) as Result
      if (result.state === 'first') {
        await pause(below(30))
        // It ends without an answer, at times.
        if (random() < 0.9) await at.call('settle', id, `answer ${id}`)
        return
      }
      if (result.state === 'unknown' || result.state === 'done' || !at.child.connected) break
      await pause(20)
    }
    if (isRejected(result)) counts.refused++
    else if (result.state === 'done') {
      counts.answered++
      if (result.answer !== `answer ${id}`) wrong.push(`${id}: ${JSON.stringify(result)}`)
    } else counts.unknown++
  }

  let next = 0
  const send = async (): Promise<void> => {
    while (next < size.requests) {
      const id = `${seed}-${next++}`
      const first = random() < 0.8 ? [arrive(id, false)] : []
      await pause(below(20))
      const others = Array.from({ length: 1 + below(3) }, () => arrive(id, true))
      await Promise.all([...first, ...others])
    }
  }

  const harming = harm()
  await Promise.all(Array.from({ length: size.atOnce }, send))
  isOver = true
  await harming
  const ran = readFileSync(runs, 'utf8').split('\n').filter(Boolean)
  const seen = new Set<string>()
  for (const id of ran) {
    if (seen.has(id)) wrong.push(`${id}: ran twice`)
    seen.add(id)
  }
  await Promise.all(all.map((one) => one.kill()))
  return { requests: size.requests, runs: ran.length, ...counts, wrong }
}
