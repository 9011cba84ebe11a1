import http from 'node:http'
import http2 from 'node:http2'
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from '../../dist/index.js'
import { parsePublish, textOf } from '../lib/message.mjs'
import { authenticate, errorHandler } from './koa-chain.mjs'
import { listener, listening } from './shared.mjs'

/** Over TLS one server speaks both versions, and the client chooses. */
const make = {
  h1: (callback) => http.createServer(callback),
  h2c: (callback) => http2.createServer(callback),
  tls: (callback, identity) =>
    http2.createSecureServer({ ...identity, allowHTTP1: true }, callback),
}

function member(hub) {
  function onMessage(data) {
    const { p, s, count, size } = parsePublish(data.toString())
    for (let i = 0; i < count; i++) hub.room('lobby').send(textOf(p, s + i, size))
  }
  return async (connection) => {
    connection.on('message', onMessage)
    await connection.join('lobby')
  }
}

export function start({ form, behaviour: { what, identity } }) {
  const app = new Koa()
  const router = new Router()
  const hub = koaWs()
  const attach = what === 'room' ? member(hub) : listener(what)
  app.use(errorHandler)
  app.use(hub)
  app.use(authenticate)
  app.use(
    router
      .get(
        '/room/:id',
        accept((connection) => attach(connection)),
      )
      .routes(),
  )
  const server = make[form](app.callback(), identity)
  hub.attach(server)
  return listening(server.listen(0, '127.0.0.1', 4096))
}
