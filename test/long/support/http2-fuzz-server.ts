/**
 * The server of `test/long/http2-fuzz.ts` in a separate process: koaws over HTTP/2 without TLS. It answers
 * the questions of its parent.
 */
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import koaWs, { accept, type HubStatus } from '../../../lib/index.ts'
import { heapAfterGc } from './heap.ts'
import { watchProcess } from './watch.ts'

/** The report of the server. */
export interface FuzzReport {
  readonly status: HubStatus
  /** The open HTTP/2 sessions. */
  readonly sessions: number
  /** Bytes after a garbage collection. */
  readonly heap: number
  readonly violations: readonly string[]
  /** The errors that were reported to the application, by code or message. */
  readonly errors: Readonly<Record<string, number>>
  /** The number of the last message to all bystanders. */
  readonly published: number
  readonly accepted: number
}

export type FuzzQuestion = 'report' | 'publish' | 'silence' | 'close'

/** The interval of messages to bystanders, in milliseconds. */
const PUBLISH_EVERY = 10

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function serve(): Promise<void> {
  const watch = watchProcess()
  const errors: Record<string, number> = {}
  let accepted = 0
  let published = 0
  const app = new Koa()
  app.on('error', (error) => {
    const name = String(error?.code ?? error?.message)
    errors[name] = (errors[name] ?? 0) + 1
  })
  const hub = koaWs({
    maxPayload: 64 * 1024,
    handshakeTimeout: 500,
    closeTimeout: 300,
    // Off, so that a connection that only a heartbeat would end shows as left over.
    heartbeat: false,
    maxPerSession: 50,
    async onConnect(connection) {
      if (connection.path === '/admitted') await pause(connection.query['ms'] ? 20 : 1)
    },
  })
  app.use(hub)
  app.use(async (ctx, next) => {
    if (ctx.path === '/none') return
    if (ctx.path === '/reject') ctx.throw(401, 'no')
    if (ctx.path === '/large') {
      ctx.status = 403
      ctx.body = 'x'.repeat(200_000)
      return
    }
    if (ctx.path === '/slow') await pause(Math.random() * 20)
    if (ctx.path === '/never') await pause(700)
    if (ctx.path === '/resumes') ctx.req.resume()
    if (ctx.path === '/inside') {
      const connection = await ctx.ws?.()
      if (connection) {
        accepted++
        for await (const message of connection) connection.send(message)
      }
      return
    }
    await next()
  })
  app.use(
    accept(
      (connection) => {
        accepted++
        if (connection.path === '/throws') throw new Error('boom')
        if (connection.path === '/closes') connection.close(4000)
        if (connection.path === '/ends') connection.terminate()
        if (connection.path === '/pauses') connection.pause()
        if (connection.path === '/bystander') connection.join('bystanders')
        else connection.join('victims')
        connection.on('message', (data, binary) => connection.send(data as Buffer, { binary }))
      },
      { reject: 'auto' },
    ),
  )
  const server = http2.createServer(app.callback())
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  hub.attach(server)
  let timer: NodeJS.Timeout | undefined
  const answers: Record<FuzzQuestion, () => Promise<object>> = {
    async report() {
      const heap = await heapAfterGc()
      const { violations } = watch
      return {
        status: hub.status(),
        sessions: sessions.size,
        heap,
        violations,
        errors,
        published,
        accepted,
      } satisfies FuzzReport
    },
    async publish() {
      timer ??= setInterval(() => {
        hub.room('bystanders').send(`all ${published++}`)
        if (published % 5 === 0) hub.room('victims').send('x'.repeat(published % 20_000))
      }, PUBLISH_EVERY)
      return {}
    },
    async silence() {
      clearInterval(timer)
      timer = undefined
      return {}
    },
    async close() {
      const began = performance.now()
      await hub.close({ server: true, timeout: 8_000 })
      return { took: performance.now() - began, listening: server.listening }
    },
  }
  process.on('disconnect', () => process.exit(0))
  process.on('message', (question: FuzzQuestion) => {
    void answers[question]().then((answer) => process.send?.({ answer }))
  })
  server.listen(0, '127.0.0.1', () =>
    process.send?.({ port: (server.address() as AddressInfo).port }),
  )
}

await serve()
