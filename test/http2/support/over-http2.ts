/**
 * Loaded before the tests of the flows by `test/http2/flows.mocharc.json`: `serve()` then returns
 * a server that speaks HTTP/2 only, behind a front that speaks HTTP/1.1 with the clients.
 */
import http2 from 'node:http2'
import { listen, listenWith } from '../../support/server.ts'
import { front } from './front.ts'

listenWith({
  create: (app) => http2.createServer(app.callback() as never) as never,
  acceptStatus: 200,
  attach: true,
  listen: async (server) => listen(front(await listen(server))),
})
