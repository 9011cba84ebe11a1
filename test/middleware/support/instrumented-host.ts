import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Entry, Host, Place } from './entry.ts'
import type { Order, Report } from './instrumented.mts'
import { Journal } from './serve.ts'

const children = new Map<string, Promise<ChildProcess>>()

/** Starts an app in the child process of its instrumentation. */
export async function serveInstrumented(entry: Entry, place: Place): Promise<Host> {
  const child = await childFor(entry.instrumented as string)
  const journal = new Journal()
  const listen = (report: Report): void => {
    if (report.report === 'line') journal.add(report.line)
  }
  child.on('message', listen)
  const started = reported(child, 'started')
  order(child, { order: 'start', name: entry.name, place })
  const { port } = await started
  return {
    port,
    lines: journal.lines,
    seen: (pattern) => journal.seen(pattern),
    stop: async () => {
      const stopped = reported(child, 'stopped')
      order(child, { order: 'stop' })
      await stopped
      child.off('message', listen)
    },
  }
}

/** Ends the children. */
export async function stopChildren(): Promise<void> {
  for (const started of children.values()) {
    const child = await started
    if (child.exitCode !== null || child.signalCode !== null) continue
    const exited = once(child, 'exit')
    child.kill()
    await exited
  }
  children.clear()
}

function childFor(kind: string): Promise<ChildProcess> {
  const known = children.get(kind)
  if (known !== undefined) return known
  const child = fork(new URL('./instrumented.mts', import.meta.url), [kind])
  const started = reported(child, 'ready').then(() => child)
  children.set(kind, started)
  return started
}

function order(child: ChildProcess, what: Order): void {
  child.send(what)
}

function reported<Kind extends Report['report']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Extract<Report, { report: Kind }>> {
  return new Promise((resolve, reject) => {
    const onMessage = (report: Report): void => {
      if (report.report !== kind) return
      child.off('message', onMessage)
      child.off('exit', onExit)
      resolve(report as Extract<Report, { report: Kind }>)
    }
    const onExit = (code: number | null): void => {
      reject(new Error(`the instrumented child ended with ${code} before it said "${kind}"`))
    }
    child.on('message', onMessage)
    child.once('exit', onExit)
  })
}
