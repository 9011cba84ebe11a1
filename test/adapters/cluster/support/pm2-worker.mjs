import { createServer } from 'node:http'
import Koa from 'koa'
import { accept, koaWs } from 'koaws'
import { clusterAdapter } from 'koaws/cluster'

// A PM2 worker: any client may send to the lobby, or ask for the worker's state.
const hub = koaWs({ adapter: clusterAdapter() })
const app = new Koa()
app.use(hub)
const guest = accept(
  (connection) => {
    connection.on('message', (data) => {
      const text = String(data)
      if (text !== 'who') hub.room('lobby').json({ text, from: process.pid })
      else connection.json({ pid: process.pid, ...hub.status().backplane })
    })
  },
  { rooms: ['lobby'] },
)
app.use(guest)
const server = createServer(app.callback())
hub.attach(server)
hub.closeOnSignal({ timeout: 2_000, readyDelay: 0 })
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send('ready'))
