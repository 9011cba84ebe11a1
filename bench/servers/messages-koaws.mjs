import Router from '@koa/router'
import Koa from 'koa'
import { z } from 'zod'
import koaWs, { accept, messages, protocol } from '../../dist/index.js'
import { listening } from './shared.mjs'

const data = z.object({ room: z.string().max(64), text: z.string().max(500) })

/** One function for all connections. */
function sendSame(received) {
  this.send(received.toString())
}

function parseAndSend(received) {
  this.send(JSON.stringify(JSON.parse(received.toString())))
}

const forms = {
  unrouted: () => (connection) => connection.on('message', sendSame),
  json: () => (connection) => connection.on('message', parseAndSend),
  routed: () => messages().on('echo', (message) => message.data),
  zod: () =>
    messages(protocol({ echo: { data, reply: data } })).on('echo', (message) => message.data),
}

export function start({ form, behaviour: { flood } }) {
  const app = new Koa()
  const router = new Router()
  const hub = koaWs(flood === undefined ? {} : { flood })
  app.use(hub)
  app.use(router.get('/room/:id', accept(forms[form]())).routes())
  const server = app.listen(0, '127.0.0.1')
  hub.attach(server)
  return listening(server)
}
