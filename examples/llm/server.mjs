// Streams the tokens of a model to pages and programs.
import { readFile } from 'node:fs/promises'
import Koa from 'koa'
import koaWs, { accept, messages } from 'koaws'
import { modelProtocol } from './protocol.mjs'

// A real model goes in here: openai.mjs has the same function `generate()`, and passes `signal` to `fetch`.
const { generate } = await import(process.env.MODEL_URL ? './openai.mjs' : './model.mjs')

const model = messages(modelProtocol, { maxMessage: 64 * 1024 })
model.on(
  'ask',
  async function* ({ data: { prompt, begun }, signal }) {
    let tokens = 0
    for await (const token of generate(prompt, { begun, signal })) {
      tokens++
      yield { token } // waits while the client is slow
    }
    return { tokens } // the reply
  },
  { resume: true }, // goes on when the client is back within a minute
)

const CLIENT = import.meta.resolve('koaws/client')
const files = {
  '/': new URL('index.html', import.meta.url),
  '/koaws-client.js': new URL('../koaws-client.js', CLIENT),
  '/koaws-client-streams.js': new URL('../koaws-client-streams.js', CLIENT), // loaded at the first stream
}

const app = new Koa()
const hub = koaWs({ streams: { perConnection: 4 } })
app.use(hub) // before the other middleware
app.use(hub.route('/socket', accept(model)))
app.use(async (ctx) => {
  if (!Object.hasOwn(files, ctx.path)) return
  ctx.type = ctx.path === '/' ? 'html' : 'js'
  ctx.body = await readFile(files[ctx.path])
})

const server = app.listen(Number(process.env.PORT || 3000), '127.0.0.1', () => {
  console.log(`A model on http://127.0.0.1:${server.address().port}/`)
})
hub.attach(server)
hub.closeOnSignal()
