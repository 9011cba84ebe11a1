/**
 * A server that closes when its process is told to stop, for the tests of signals. It runs as a
 * separate process with its configuration as JSON in the first argument, and prints a line for
 * each event.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import koaWs, { accept, type Hub, memoryAdapter, type SignalOptions } from '../../lib/index.ts'

export interface SignalServer {
  /** The number of hubs, each with a server of its own. @default 1 */
  hubs?: number
  /** No server: the process has nothing to do. */
  alone?: boolean
  options?: Omit<SignalOptions, 'after'>
  after?: 'ok' | 'slow' | 'throw' | 'reject' | 'never'
  /** `onDisconnect` never settles. */
  disconnect?: 'never'
  /** The adapter's `close` rejects. */
  adapter?: 'broken'
  /** The loop over messages never ends. */
  stuck?: boolean
  /** Undoes `closeOnSignal()` at once. */
  takeBack?: boolean
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const config = JSON.parse(process.argv[2] ?? '{}') as SignalServer
const hubs: Hub[] = []

function after(): unknown {
  const open = hubs.map((hub) => hub.status().connections)
  print(`after ${open.join(' ')}`)
  if (config.after === 'throw') throw new Error('after failed')
  if (config.after === 'reject') return Promise.reject(new Error('after failed'))
  if (config.after === 'never') return new Promise(() => setInterval(() => {}, 1_000))
  if (config.after !== 'slow') return undefined
  return new Promise<void>((resolve) => {
    setTimeout(() => {
      print('after done')
      resolve()
    }, 300)
  })
}

function adapter() {
  const { connect } = memoryAdapter()
  return {
    connect: (...given: Parameters<typeof connect>) =>
      Object.assign(connect(...given), {
        close: () => Promise.reject(new Error('the backplane is broken')),
      }),
  }
}

async function start(): Promise<number> {
  const app = new Koa()
  const hub = koaWs({
    ...(config.disconnect ? { onDisconnect: () => new Promise(() => {}) } : {}),
    ...(config.adapter ? { adapter: adapter() } : {}),
  })
  hubs.push(hub)
  app.use(hub)
  app.use(
    accept(async (connection) => {
      for await (const message of connection) {
        if (config.stuck) {
          print('stuck')
          await new Promise(() => {})
        }
        await new Promise((resolve) => setTimeout(resolve, 20))
        connection.send(`done ${message}`)
      }
    }),
  )
  const takeBack = hub.closeOnSignal({ ...config.options, ...(config.after && { after }) })
  if (config.takeBack) takeBack()
  if (config.alone) return 0
  const server = createServer(app.callback())
  hub.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

process.on('exit', (code) => {
  print(`exit ${code} ${hubs.map((hub) => hub.status().connections).join(' ')}`)
})
const ports: number[] = []
for (let i = 0; i < (config.hubs ?? 1); i++) ports.push(await start())
print(`ports ${ports.join(' ')}`)
