/** One instance of an app with rooms that its clients name: `worker.mjs <dist> <folder>`. */
import { channel, subscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { pathToFileURL } from 'node:url'
import Koa from 'koa'
import { serve } from '../lib/rpc.mjs'

const [dist, folder] = process.argv.slice(2)
const load = (file) => import(pathToFileURL(join(dist, file)).href)
const { accept, koaWs } = await load('index.js')
const { clusterAdapter } = await load('adapters/cluster/index.js')

const counts = { connects: 0, degraded: 0, verdicts: {} }
const delay = monitorEventLoopDelay({ resolution: 1 })
// An instance connects to other instances only.
subscribe('net.client.socket', () => counts.connects++)
channel('koaws:backplane').subscribe(({ state }) => {
  if (state === 'degraded') counts.degraded++
})

const hub = koaWs({ adapter: clusterAdapter({ name: 'storm', folder }), maxRooms: 2_000 })
const app = new Koa()
app.silent = true
app.use(hub)

function send(group, to, data) {
  const { backplane } = hub.room(to).send(data)
  counts.verdicts[group] ??= {}
  const verdicts = counts.verdicts[group]
  void backplane.then((verdict) => {
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
  })
}

const commands = {
  echo: (connection, { n }) => connection.json({ n }),
  join: async (connection, { rooms }) => {
    await connection.join(...rooms)
    connection.json({ joined: rooms.length })
  },
  say: (_connection, { to, text, group = 'storm' }) => send(group, to, text),
  /** Sends a text of this size to each of these rooms, in one turn. */
  burst: (_connection, { rooms, bytes }) => {
    const text = 'x'.repeat(bytes)
    for (let i = 0; i < rooms; i++) send('burst', `burst ${i}`, text)
  },
}
app.use(
  accept((connection) => {
    connection.on('message', (data, isBinary) => {
      // Binary messages go to one room and are not parsed.
      if (isBinary) send('storm', 'flooded', data)
      else {
        const message = JSON.parse(String(data))
        return commands[message.type](connection, message)
      }
    })
  }),
)

const server = createServer(app.callback())
hub.attach(server)
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))

serve({
  port: () => server.address().port,
  begin() {
    Object.assign(counts, { connects: 0, degraded: 0, verdicts: {} })
    delay.enable()
    delay.reset()
  },
  counts: () => ({
    ...counts,
    stalledMs: delay.max / 1e6,
    backplane: hub.status().backplane,
    rss: process.memoryUsage().rss,
  }),
})
process.send({ id: 0, result: server.address().port })
