// An `upgrade` listener beside Koa as tutorials show it, with its faults: see `test/interop/by-hand.test.ts`.
import { createServer } from 'node:http'
import Koa from 'koa'
import { WebSocketServer } from 'ws'

const app = new Koa()
app.use((ctx) => {
  ctx.body = 'plain HTTP'
})

const server = createServer(app.callback())
const wss = new WebSocketServer({ noServer: true })

/** Stands for a database: it takes its time. */
async function findUser(token) {
  console.log(`asked for ${token}`)
  if (token === 'slow') await new Promise((resolve) => setTimeout(resolve, 600_000))
  return { name: token }
}

async function findPost(id) {
  if (id !== '1') throw new Error('No such post')
  return { id }
}

server.on('upgrade', async (req, socket, head) => {
  const user = await findUser(req.headers.authorization)
  if (!user) return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
  wss.handleUpgrade(req, socket, head, (ws) => wss.emit('connection', ws, user))
})

wss.on('connection', (ws, user) => {
  ws.on('message', async (data) => {
    const post = await findPost(data.toString())
    ws.send(JSON.stringify({ ...post, reader: user.name }))
  })
})

server.listen(process.env.PORT ?? 3000)
