import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import Koa from 'koa'
import { accept, koaWs, messages } from 'koaws'
import { clusterAdapter } from 'koaws/cluster'

// A PM2 worker: `add` notes each run in the file RUNS.
const hub = koaWs({ adapter: clusterAdapter(), user: (ctx) => ctx.query.user })
const app = new Koa()
app.use(hub)
const chat = messages().on('add', async ({ data }) => {
  appendFileSync(process.env.RUNS, `${data}\n`)
  await pause(data % 20)
  return { sum: data * 2, pid: process.pid }
})
app.use(accept(chat))
const server = createServer(app.callback())
hub.attach(server)
hub.closeOnSignal({ timeout: 2_000, readyDelay: 0 })
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send('ready'))
