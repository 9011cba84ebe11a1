import cluster from 'node:cluster'
import { createServer } from 'node:http'
import Koa from 'koa'
import { accept, koaWs } from 'koaws'
import { clusterAdapter } from 'koaws/cluster'

/** Workers of node:cluster that share a port, each with a hub: `cluster.mjs WORKERS`. */
if (cluster.isPrimary) runPrimary()
else runWorker()

function runPrimary() {
  const tell = (...event) => void process.send?.(event)
  cluster.on('exit', ({ process: { pid } }, code, signal) => tell('exit', pid, code ?? signal))
  cluster.on('message', (_worker, message) => tell(...message))
  const forkOne = () => void cluster.fork()
  for (let i = 0; i < Number(process.argv[2]); i++) forkOne()
  process.on('message', ([command, pid]) => {
    if (command === 'fork') forkOne()
    const worker = Object.values(cluster.workers ?? {}).find((one) => one?.process.pid === pid)
    if (command === 'end') worker?.send('end')
  })
  process.on('disconnect', () => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
    process.exit()
  })
}

function runWorker() {
  const { pid } = process
  const hub = koaWs({
    adapter: clusterAdapter({ heartbeat: 300, maxQueued: { bytes: 1024 * 1024 } }),
  })
  const app = new Koa()
  app.use(hub)
  app.use(
    accept(
      (connection) => {
        connection.on('message', (data) => {
          const { to, text, large } = JSON.parse(String(data))
          if (to === 'count') {
            void hub
              .all()
              .count()
              .then((count) => connection.json({ count, ...hub.status().backplane }))
          } else if (large) hub.room(to).send('x'.repeat(large))
          else hub.room(to).json({ text, from: pid })
        })
        connection.json({ pid, ...hub.status().backplane })
      },
      { rooms: ['lobby'], user: () => String(pid) },
    ),
  )
  const server = createServer(app.callback())
  hub.attach(server)
  server.listen(0, '127.0.0.1', () => {
    process.send?.(['listening', pid, server.address().port])
  })
  let last = ''
  setInterval(() => {
    const { state, instances, lost } = hub.status().backplane
    const now = `${state} ${instances} ${lost}`
    if (now !== last) process.send?.(['status', pid, state, instances, lost])
    last = now
  }, 10).unref()
  process.on('message', (message) => {
    if (message !== 'end') return
    server.close()
    void hub.close({ timeout: 500 }).then(() => process.disconnect?.())
  })
}
