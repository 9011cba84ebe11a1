import { ClusterHistory } from '../../../../lib/adapters/cluster/history/store.ts'
import type { Place } from '../../../../lib/history/store.ts'

/**
 * The history of one instance in a separate process: `history-child.ts NAME FOLDER`. It appends
 * numbered entries to one log until it is told to stop.
 */
const [, , name = '', folder = ''] = process.argv
const LOG = 'room:a'
const LIMITS = { messages: 1_000_000, bytes: 1e9, ttl: 600_000, maxTotal: 1e9 }
const tell = (event: string, ...about: unknown[]): void => void process.send?.([event, ...about])
let appended = 0

const history = new ClusterHistory({ folder, interval: 100, most: 16 * 1024 * 1024 }, LIMITS, {
  recorded: (_log, epoch, entries) => {
    for (const { offset, payload } of entries) tell('recorded', epoch, offset, String(payload))
  },
  up: () => tell('up'),
  down: ({ message }) => tell('down', message),
})

function append(): void {
  const text = `${name} ${++appended}`
  const key = `${name}${String(appended).padStart(7, '0')}`
  history.append(LOG, { key, count: 1, payload: Buffer.from(text) }).then(
    ({ epoch, offset }: Place) => tell('acknowledged', epoch, offset, text),
    (error: Error) => tell('failed', text, error.message),
  )
}

let timer: NodeJS.Timeout
const commands: Record<string, () => unknown> = {
  begin: () => {
    timer = setInterval(append, 2)
  },
  stop: () => {
    clearInterval(timer)
    tell('stopped', appended)
  },
  follow: async () => {
    await history.follow(LOG)
    tell('follows')
  },
  role: () => tell('role', history.roleOf(LOG)),
  read: async () => {
    const reading = await history.read(LOG, null)
    const entries = 'entries' in reading ? reading.entries : []
    const list = entries.map(({ offset, payload }) => [offset, String(payload)])
    tell('log', reading.top.epoch, list)
  },
  close: async () => {
    clearInterval(timer)
    await history.close()
    tell('closed')
    process.disconnect() // nothing else keeps the process alive
  },
}
process.on('message', (command: string) => void commands[command]?.())
