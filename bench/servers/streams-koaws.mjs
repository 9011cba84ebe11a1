import { setImmediate as nextTurn } from 'node:timers/promises'
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept, messages } from '../../dist/index.js'
import { listening } from './shared.mjs'

/** 20 bytes as JSON. */
const ITEM = { token: 'abcdefgh' }

/** The same items in the same turns: in the one by push, in the other by a generator. */
const forms = {
  push: async ({ data: { items, inTurn }, connection }) => {
    for (let i = 0; i < items; i++) {
      if (i % inTurn === 0) await nextTurn()
      connection.push('tick', ITEM)
    }
    return null
  },
  stream: async function* ({ data: { items, inTurn } }) {
    for (let i = 0; i < items; i++) {
      if (i % inTurn === 0) await nextTurn()
      yield ITEM
    }
    return null
  },
}

let writes = 0

export function start({ form }) {
  const [kind, resume] = form.split(' ')
  const app = new Koa()
  const router = new Router()
  const hub = koaWs()
  const chat = messages().on('go', forms[kind], { resume: resume === 'resume' })
  const served = accept(chat)
  app.use(hub)
  app.use(router.get('/room/:id', served).routes())
  const server = app.listen(0, '127.0.0.1')
  server.on('connection', (socket) => {
    for (const name of ['_write', '_writev']) {
      const write = socket[name]
      socket[name] = function (...args) {
        writes++
        return write.apply(this, args)
      }
    }
  })
  hub.attach(server)
  return listening(server)
}

/** How many writes the kernel got. */
export function status() {
  return { writes }
}
