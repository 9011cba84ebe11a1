import Koa from 'koa'
import { z } from 'zod'
import koaWs, { accept, messages, protocol } from '/work/wt-asyncapi/lib/index.ts'
const t = z.object({ text: z.string().min(1).max(500) })
const chat = messages(protocol({ say: { data: t, reply: z.object({ heard: z.number() }) }, typing: {}, said: { push: t }, writes: { push: true } }))
  .on('say', ({ data, connection }) => { connection.push('said', data); return { heard: 1 } })
  .on('typing', ({ connection }) => connection.push('writes'))
const app = new Koa(); app.use(koaWs()); app.use(accept(chat)); app.listen(3117, () => console.log('listening'))
