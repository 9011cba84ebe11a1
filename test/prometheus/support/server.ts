import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../support/free-port.ts'
import { pathOf } from '../../support/programs.ts'
import { PATIENCE } from '../../support/server.ts'

/** One series of the answer to a query. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [time: number, value: string]
}

/** A Prometheus of a test, on loopback, with its data in a folder of its own. */
export interface TestPrometheus {
  /** Returns the series of an instant query. @throws when Prometheus rejects it */
  query(expression: string): Promise<Sample[]>
  /** Reads another part of the API. */
  api(path: string): Promise<unknown>
  stop(): Promise<void>
}

/** Starts a Prometheus that scrapes a port of this machine five times in a second. @param rules a file of rules */
export async function startPrometheus(target: number, rules: string): Promise<TestPrometheus> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'koaws-prometheus-'))
  const config = {
    global: { scrape_interval: '200ms', scrape_timeout: '200ms', evaluation_interval: '1s' },
    rule_files: [rules],
    scrape_configs: [{ job_name: 'chat', static_configs: [{ targets: [`127.0.0.1:${target}`] }] }],
  }
  // JSON is YAML.
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config))
  const child = spawn(
    pathOf('prometheus'),
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=error',
    ],
    { stdio: 'ignore' },
  )
  const base = `http://127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    await ended(child)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await answers(`${base}/-/ready`)
  } catch (error) {
    await stop()
    throw error
  }
  const api = async (path: string): Promise<unknown> => {
    const { status, data, error } = await (await fetch(`${base}/api/v1/${path}`)).json()
    if (status !== 'success') throw new Error(`${path}: ${error}`)
    return data
  }
  return {
    api,
    async query(expression) {
      const data = await api(`query?query=${encodeURIComponent(expression)}`)
      return (data as { result: Sample[] }).result
    },
    stop,
  }
}

async function answers(url: string): Promise<void> {
  const deadline = Date.now() + PATIENCE
  for (;;) {
    const status = await fetch(url).then(
      (answer) => answer.status,
      () => 0,
    )
    if (status === 200) return
    if (Date.now() > deadline) throw new Error(`${url} did not answer`)
    await sleep(50)
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
