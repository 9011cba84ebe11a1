/** The server of `storms-clients.mjs`: `node storm-clients.mjs <folder of a build>`; prints its two ports. */
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import Koa from 'koa'

const {
  default: koaWs,
  accept,
  messages,
} = await import(new URL(`${process.argv[2]}/index.js`, import.meta.url))

const app = new Koa()
app.silent = true
const hub = koaWs()
app.use(hub)
const routes = {
  '/echo': accept((connection) =>
    connection.on('message', (data) => connection.send(String(data))),
  ),
  '/objects': accept(messages().on('move', () => undefined)),
  '/auth': accept(messages(), {
    authenticate: () => new Promise(() => {}),
    authenticateTimeout: 60_000,
  }),
}
app.use((ctx, next) => (routes[ctx.path] ?? routes['/echo'])(ctx, next))

const servers = [createServer(app.callback()), createHttp2Server(app.callback())]
const ports = []
for (const server of servers) {
  hub.attach(server)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  ports.push(server.address().port)
}
console.log(JSON.stringify(ports))
process.on('disconnect', () => process.exit(0))
