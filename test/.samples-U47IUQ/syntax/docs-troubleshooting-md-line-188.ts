import type { Server } from 'node:http'
import type Router from '@koa/router'
import type Koa from 'koa'
import koaWs, { accept, bearer, type Connection, forward, type Hub } from 'koaws'
import type { WebSocketServer } from 'ws'

declare const app: Koa
declare const hub: Hub
declare const router: Router
declare const connection: Connection
declare const ctx: Koa.Context
declare const server: Server
declare const socket: WebSocket
declare const token: string
declare const wss: WebSocketServer
declare const setupWSConnection: (ws: object, req: object) => void

export async function fragment(): Promise<void> {
router.get('/chat', (ctx) => {
  if (ctx.ws) ctx.ws((connection) => connection.send('hello'))
  else ctx.body = 'plain HTTP'
})
}
