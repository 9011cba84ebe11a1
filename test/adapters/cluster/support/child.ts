import { closeSync, openSync } from 'node:fs'
import { ClusterLink } from '../../../../lib/adapters/cluster/link.ts'

/**
 * One link in a separate process: `child.ts ID FOLDER INTERVAL MOST`. Its parent sends the
 * commands.
 */
const [, , id = '', folder = '', interval, most] = process.argv
let [count, bytes] = [0, 0]
const tell = (event: string, about: unknown = null): void => void process.send?.([event, about])
const link = new ClusterLink(
  id,
  {
    received: (payload) => {
      count++
      bytes += payload.length
      if (payload.length < 200) tell('received', payload.toString())
    },
    up: () => tell('up'),
    down: () => tell('down'),
    gone: (peer) => tell('gone', peer),
  },
  { folder, interval: Number(interval), most: Number(most) },
)
link.subscribe(['all']).catch(() => {})
const files: number[] = []

const commands: Record<string, (about: string) => unknown> = {
  say: (text) => link.publish(['all'], Buffer.from(text)),
  many: async (megabytes) => {
    for (let i = 0; i < Number(megabytes) * 16; i++) {
      await link.publish(['all'], Buffer.alloc(65_536, 1))
    }
    await link.publish(['all'], Buffer.from('the last'))
  },
  count: () => tell('count', [count, bytes]),
  exhaust: () => {
    try {
      for (;;) files.push(openSync('/dev/null', 'r'))
    } catch {}
    tell('exhausted')
  },
  release: () => {
    for (const file of files.splice(0)) closeSync(file)
  },
  close: async () => {
    await link.close()
    process.disconnect() // nothing else keeps the process alive
  },
}
let last: Promise<unknown> = Promise.resolve()
process.on('message', ([command, about]: [string, string]) => {
  last = last.then(() => commands[command]?.(about))
})
