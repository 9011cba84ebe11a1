/**
 * A server of messages in a separate process, like the next instance in a rolling restart. It
 * answers requests to warm up, and sends `{ ready }`. Then it receives the port to listen on,
 * which another process may still use, and reports each connection.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { WebSocket } from 'ws'
import koaWs, { accept, messages } from '../../../lib/index.ts'

/** The messages to the parent process. */
export type Told = { ready: true } | { port: number } | { opened: number }

const CLIENT = new URL('../../../dist/koaws-client.js', import.meta.url)
const tell = (what: Told): void => void process.send?.(what)

const app = new Koa()
const hub = koaWs()
app.use(hub)
app.use(async (ctx, next) => {
  if (ctx.ws) return next()
  ctx.type = ctx.path === '/koaws-client.js' ? 'js' : 'html'
  ctx.body = ctx.path === '/koaws-client.js' ? await readFile(CLIENT) : '<!doctype html><title>x'
})
app.use(accept(messages().onOpen(() => tell({ opened: Date.now() }))))
const server = createServer(app.callback())
hub.attach(server)

// Before closeOnSignal(), which leaves the channel alone when it has a listener.
process.once('message', listen)
hub.closeOnSignal()
await warmUp()
tell({ ready: true })

async function warmUp(): Promise<void> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (let i = 0; i < 50; i++) {
    const client = new WebSocket(`ws://127.0.0.1:${portOf()}`, 'koaws.v1')
    await once(client, 'message')
    client.terminate()
  }
  server.close()
  await once(server, 'close')
}

function listen(port: number): void {
  const again = (): void => void server.listen(port, '127.0.0.1')
  server.on('error', () => setTimeout(again, 5))
  server.on('listening', () => tell({ port: portOf() }))
  again()
}

function portOf(): number {
  return (server.address() as AddressInfo).port
}
