import { once } from 'node:events'
import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { z } from 'zod'
import { accept, bearer, MessageError, messages, protocol } from '../../../lib/index.ts'
import { type Site, serve } from '../../support/server.ts'

const text = z.object({ text: z.string().max(500) })

/** The messages of all routes: see `routes` in docs/protocol-vectors.json. */
const types = protocol({
  say: { data: text, reply: z.object({ ok: z.boolean() }) },
  echo: { data: z.any(), reply: z.any() },
  given: { data: z.any(), reply: z.boolean() },
  sum: { data: z.object({ numbers: z.array(z.number()) }), reply: z.number() },
  typing: {},
  announce: { data: text },
  said: { push: text },
  ask: { data: text, reply: z.any() },
  confirm: { push: text, reply: z.boolean() },
  forbidden: {},
  later: {},
  fail: {},
  swallow: {},
  leave: {},
  spell: { data: z.object({ texts: z.array(z.string()) }), stream: z.string(), reply: z.number() },
  join: { upload: z.string(), reply: z.string() },
})

const chat = messages(types)
  .use((message, next) => (message.type === 'swallow' ? undefined : next()))
  .on('say', () => ({ ok: true }))
  .on('echo', ({ data }) => data)
  .on('given', ({ data }) => data !== undefined)
  .on('sum', ({ data }) => data.numbers.reduce((sum, number) => sum + number, 0))
  .on('typing', () => {})
  .on('announce', ({ connection, data }) => {
    connection.push('said', data)
  })
  .on('ask', async ({ connection, data }) => {
    try {
      return { answer: await connection.request('confirm', data) }
    } catch (error) {
      if (error instanceof MessageError) return { refused: error.code }
      throw error
    }
  })
  .on('forbidden', (message) => message.throw(403, 'Not in this room', { code: 'forbidden' }))
  .on('later', (message) =>
    message.throw(503, 'Too early', { code: 'later', retryable: true, data: { seconds: 5 } }),
  )
  .on('fail', () => {
    throw new Error('a secret of the server')
  })
  .on('swallow', () => 'never')
  .on('leave', ({ connection }) => connection.close(1000, 'left'))
  .on(
    'spell',
    async function* (message) {
      for (const text of message.data.texts) {
        if (text === 'forbidden') message.throw(403, 'Not in this room', { code: 'forbidden' })
        if (text === 'wait') await once(message.signal, 'abort')
        yield text
      }
      return message.data.texts.length
    },
    { resume: true },
  )
  .on('join', async ({ upload }) => {
    let joined = ''
    for await (const text of upload) {
      if (text === 'stop') break
      joined += text
    }
    return joined
  })

const HOUR = 3600

/** The user of each token, and its lifetime in seconds. */
const tokens: Readonly<Record<string, { id: string; seconds?: number }>> = {
  ann: { id: 'ann', seconds: HOUR },
  ann2: { id: 'ann', seconds: 2 * HOUR },
  'ann/3': { id: 'ann', seconds: HOUR },
  slow: { id: 'ann', seconds: HOUR },
  brief: { id: 'ann', seconds: 0.3 },
  bob: { id: 'bob', seconds: HOUR },
  forever: { id: 'eve' },
}

const authenticate: Middleware = async (ctx, next) => {
  const token = ctx.get('Authorization').replace(/^Bearer /, '')
  if (token === 'barred') ctx.throw(403, 'Barred')
  if (!Object.hasOwn(tokens, token)) ctx.throw(401, 'Authentication Error')
  if (token === 'slow') await new Promise((resolve) => setTimeout(resolve, 100))
  const { id, seconds } = tokens[token] as { id: string; seconds?: number }
  ctx.state['user'] = { id, ...(seconds && { exp: Date.now() / 1000 + seconds }) }
  return next()
}

const rejectMember: Middleware = (ctx) => ctx.throw(403, 'Members only')

/** A server with all routes of the vectors. */
export function serveFixture(): Promise<Site> {
  const router = new Router()
  router.get('/chat', accept(chat))
  router.get('/auth', accept(chat, { authenticate }))
  router.get('/auth-quickly', accept(chat, { authenticate, authenticateTimeout: 100 }))
  router.get('/bearer', bearer(), authenticate, accept(chat, { refresh: authenticate }))
  router.get('/members', rejectMember)
  return serve((app) => app.use(router.routes()), {
    heartbeat: {},
    user: (ctx: Context) => ctx.state['user']?.id,
  })
}
