import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterRetries } from '../../../../lib/adapters/cluster/retry/store.ts'

/**
 * The record of one instance in a separate process: `retry-child.ts FOLDER KEPT`. It answers each
 * call, and notes each id that it may run in the file `runs`.
 */
const [, , folder = '', kept = ''] = process.argv
const store = new ClusterRetries({
  folder,
  interval: 100,
  most: 16 * 1024 * 1024,
  kept: Number(kept),
})

type Call = [n: number, method: 'claim' | 'look' | 'settle' | 'close', ...args: never[]]

process.on('message', async ([n, method, ...args]: Call) => {
  try {
    const result = await (store[method] as (...all: never[]) => unknown)(...args)
    if ((result as { state?: string } | undefined)?.state === 'first') {
      appendFileSync(join(folder, 'runs'), `${args[0]}\n`)
    }
    process.send?.([n, result ?? null])
  } catch (error) {
    process.send?.([n, { rejected: String(error) }])
  }
  if (method === 'close') process.disconnect() // nothing else keeps the process alive
})
