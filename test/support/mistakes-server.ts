/**
 * Ordinary mistakes of applications, one app for each, for `test/upgrade/process.test.ts`. It
 * runs as a separate process, because a mistake may end it, and has no listener for unhandled
 * rejections. It prints a line before and after each mistake: `begin <name>`, `end <name>
 * <json>`.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa, { type Context, type Next } from 'koa'
import compose from 'koa-compose'
import { channels } from '../../lib/diagnostics.ts'
import koaWs, {
  accept,
  type Connection,
  type Hub,
  type KoaWsOptions,
  messages,
  protocol,
} from '../../lib/index.ts'
import { hostileValues } from './hostile-values.ts'
import { handshake, type RawClient, rawClient, textFrame } from './raw.ts'

/** The status that a client got, and the codes or messages of errors at the app. */
export interface Seen {
  status: number | null
  errors: string[]
}

type Build = (app: Koa, hub: Hub) => void
interface Mistake {
  build: Build
  /** Adds middleware in front of the plugin. */
  before?: (app: Koa) => void
  options?: KoaWsOptions
  /** Replaces waiting for the answer, once the client has sent the upgrade. */
  client?: (client: RawClient, reached: Promise<void>) => Promise<void>
  /** The error that the app emits some time after the client left. */
  hears?: string
  /** Whether the error listener of the app throws. */
  deafErrors?: boolean
  /** Whether the hub is attached before the first upgrade. @default both, one after the other */
  attach?: boolean
  headers?: Record<string, string>
}

const pause = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const ws = (ctx: Context): NonNullable<Context['ws']> => ctx.ws as NonNullable<Context['ws']>
const aborted = async (ctx: Context): Promise<void> => {
  const { signal } = ws(ctx)
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
}
const quiet = (): void => {}
const forgetful = (_ctx: Context, next: Next): void => void next()
const asyncStep = async (_ctx: Context, next: Next): Promise<void> => {
  await pause()
  await next()
}
const leave = async (client: RawClient, reached: Promise<void>): Promise<void> => {
  await reached
  client.reset()
  await pause(60)
}
const accepted = async (client: RawClient): Promise<void> => {
  await client.answer()
  client.write(textFrame('hello'))
  await pause(40)
}
const fails = (): never => {
  throw new Error('a mistake')
}
const failsLater = async (): Promise<never> => {
  await pause(5)
  return fails()
}

function mistakes(): Record<string, Mistake> {
  return {
    'forgotten await, then accept() behind an async step': {
      build: (app) => app.use(forgetful).use(asyncStep).use(accept(quiet)),
    },
    'forgotten await in an async function': {
      build: (app) =>
        app
          .use(async (_ctx, next) => {
            next()
          })
          .use(asyncStep)
          .use(accept(quiet)),
    },
    'forgotten await, then await ctx.ws()': {
      build: (app) =>
        app.use(forgetful).use(async (ctx) => {
          await pause()
          const connection = await ws(ctx)()
          connection.send('hello')
          connection.to('lobby').send('somebody came')
          await connection.join('lobby')
          for await (const _ of connection) fails()
        }),
    },
    'forgotten await in front of the plugin': {
      before: (app) => app.use(forgetful),
      build: (app) => app.use(asyncStep).use(accept(quiet)),
    },
    'forgotten await in front of the plugin, await ctx.ws()': {
      before: (app) => app.use(forgetful),
      build: (app) => app.use(async (ctx) => void (await pause(), await ws(ctx)())),
    },
    'forgotten await in front of the plugin, and the chain throws': {
      before: (app) => app.use(forgetful),
      build: (app) => app.use(asyncStep).use(fails),
    },
    'forgotten await in front of the plugin and behind it': {
      before: (app) => app.use(forgetful),
      build: (app) => app.use(forgetful).use(asyncStep).use(accept(quiet)),
    },
    'forgotten await, two accepts': {
      build: (app) =>
        app
          .use((ctx, next) => {
            void next()
            ws(ctx)(quiet)
          })
          .use(asyncStep)
          .use(async (ctx) => void (await ws(ctx)())),
    },
    'forgotten await, wrong options': {
      build: (app) =>
        app
          .use(forgetful)
          .use(asyncStep)
          .use((ctx) => ws(ctx)(quiet, { typo: 1 } as never)),
    },
    'forgotten await in koa-compose, nested': {
      build: (app) =>
        app.use(compose([forgetful, compose([asyncStep, accept(quiet)])] as never) as never),
    },
    'forgotten await in front of hub.route()': {
      build: (app, hub) =>
        app
          .use(forgetful)
          .use(asyncStep)
          .use(hub.route('/', accept(quiet))),
    },
    'forgotten await, a subprotocol that is not spoken': {
      build: (app) =>
        app
          .use(forgetful)
          .use(asyncStep)
          .use(accept(quiet, { subprotocol: 'other' })),
      headers: { 'Sec-WebSocket-Protocol': 'mine' },
    },
    'forgotten await, messages()': {
      build: (app) => app.use(forgetful).use(asyncStep).use(accept(messages())),
      headers: { 'Sec-WebSocket-Protocol': 'koaws.v1' },
    },
    'ctx.respond = false, the client leaves, await ctx.ws() in a later turn': {
      build: (app) =>
        app.use((ctx) => {
          ctx.respond = false
          void (async () => {
            await aborted(ctx)
            await ws(ctx)()
          })()
        }),
      client: leave,
      hears: 'ERR_KOAWS_CLIENT_GONE',
    },
    'ctx.respond = false, the client leaves, ctx.ws(handler) in a timer': {
      build: (app) =>
        app.use((ctx) => {
          ctx.respond = false
          void aborted(ctx).then(() => setTimeout(() => ws(ctx)(quiet), 5))
        }),
      client: leave,
      hears: 'ERR_KOAWS_CLIENT_GONE',
    },
    'ctx.respond = false, the deadline passes, await ctx.ws() in a later turn': {
      options: { handshakeTimeout: 100 },
      build: (app) =>
        app.use((ctx) => {
          ctx.respond = false
          void (async () => {
            await aborted(ctx)
            await ws(ctx)()
          })()
        }),
      client: async (client) => {
        await client.end()
        await pause(120)
      },
    },
    'ctx.respond = false, a subprotocol that is not spoken, in a timer': {
      build: (app) =>
        app.use((ctx) => {
          ctx.respond = false
          setTimeout(() => ws(ctx)(quiet, { subprotocol: 'other' }), 10)
        }),
      headers: { 'Sec-WebSocket-Protocol': 'mine' },
    },
    'ctx.respond = false, an option that throws, in a later turn': {
      options: { user: fails },
      build: (app) =>
        app.use((ctx) => {
          ctx.respond = false
          void (async () => {
            await pause()
            await ws(ctx)()
          })()
        }),
    },
    'ctx.respond = false with accept(handler)': {
      build: (app) =>
        app
          .use((ctx, next) => {
            ctx.respond = false
            return next()
          })
          .use(accept(quiet)),
    },
    'next() twice': {
      build: (app) =>
        app
          .use(async (_ctx, next) => {
            await next()
            await next()
          })
          .use(accept(quiet)),
    },
    'ctx.ws(handler) twice': {
      build: (app) =>
        app.use((ctx) => {
          ws(ctx)(quiet)
          ws(ctx)(quiet)
        }),
    },
    'ctx.ws(handler) in the handler': {
      build: (app) => app.use(accept((_connection, ctx) => void (ctx as Context).ws?.(quiet))),
      client: accepted,
    },
    'await ctx.ws() in the handler': {
      build: (app) =>
        app.use(accept(async (_connection, ctx) => void (await (ctx as Context).ws?.()))),
      client: accepted,
    },
    'ctx.ws() after the accept, in a timer': {
      build: (app) =>
        app.use(async (ctx) => {
          const accepting = ws(ctx)
          await accepting()
          setTimeout(async () => void (await accepting()), 10)
          setTimeout(() => accepting(quiet), 10)
        }),
      client: accepted,
    },
    'not awaited: ctx.ws() after the client left': {
      build: (app) =>
        app.use(async (ctx) => {
          await aborted(ctx)
          void ws(ctx)()
        }),
      client: leave,
    },
    'a throw after await ctx.ws()': {
      build: (app) => app.use(async (ctx) => void (await ws(ctx)(), fails())),
      client: accepted,
    },
    'the handler throws': { build: (app) => app.use(accept(fails)), client: accepted },
    'the handler rejects': { build: (app) => app.use(accept(failsLater)), client: accepted },
    'a message listener throws': {
      build: (app) => app.use(accept((connection) => void connection.on('message', fails))),
      client: accepted,
    },
    'an async message listener rejects': {
      build: (app) => app.use(accept((connection) => void connection.on('message', failsLater))),
      client: accepted,
    },
    'onmessage rejects': {
      build: (app) =>
        app.use(
          accept((connection) => {
            connection.onmessage = failsLater as never
          }),
        ),
      client: accepted,
    },
    'an async close listener rejects': {
      build: (app) =>
        app.use(
          accept((connection) => {
            connection.on('close', failsLater)
            connection.on('close', fails)
          }),
        ),
      client: async (client) => {
        await client.answer()
        client.reset()
        await pause(40)
      },
    },
    'onConnect rejects': {
      options: { onConnect: failsLater },
      build: (app) => app.use(accept(quiet)),
      client: accepted,
    },
    'onConnect throws': {
      options: { onConnect: fails },
      build: (app) => app.use(accept(quiet)),
      client: accepted,
    },
    'onDisconnect rejects': {
      options: { onDisconnect: failsLater },
      build: (app) => app.use(accept(quiet)),
      client: async (client) => {
        await client.answer()
        client.reset()
        await pause(40)
      },
    },
    'onConnect closes, and its handler is async': {
      options: { onConnect: async (connection) => connection.close(4001, 'no') },
      build: (app) => app.use(accept(failsLater)),
      client: accepted,
    },
    'promises of a connection without await': {
      build: (app) =>
        app.use(
          accept((connection: Connection) => {
            void connection.request('x')
            void connection.join('a')
            void connection.closed
            void connection.to('a').count()
          }),
        ),
      client: accepted,
    },
    'writes to ctx.res after the end': {
      build: (app) =>
        app.use((ctx) => {
          ctx.body = 'no'
          setTimeout(() => {
            ctx.res.write('late')
            ctx.res.end('later')
            ctx.body = 'too late'
          }, 20)
        }),
    },
    'writes to ctx.res after the accept': {
      build: (app) =>
        app.use(
          accept((_connection, ctx) => {
            const late = ctx as Context
            late.body = 'late'
            late.set('x-late', '1')
            late.status = 200
            late.res.setHeader('x', '1')
            late.res.write('late')
            late.res.end('later')
          }),
        ),
      client: accepted,
    },
    'writes to ctx.res in a later turn of an accept inside': {
      build: (app) =>
        app.use(async (ctx) => {
          await ws(ctx)()
          const { res } = ctx
          setTimeout(() => {
            res.setHeader('x', '1')
            res.write('late')
            res.end('later')
            ctx.redirect('/')
          }, 10)
        }),
      client: accepted,
    },
    'the chain throws, and app.on(error) throws too': {
      build: (app) => app.use(fails),
      deafErrors: true,
    },
    'the handler throws, and app.on(error) throws too': {
      build: (app) => app.use(accept(fails)),
      client: accepted,
      deafErrors: true,
    },
    'a 401 of the chain, and app.on(error) throws too': {
      build: (app) => app.use((ctx) => ctx.throw(401)),
      deafErrors: true,
    },
    'the chain throws a frozen error': {
      build: (app) =>
        app.use(() => {
          throw Object.freeze(new Error('frozen'))
        }),
    },
    'the chain throws a BigInt': {
      build: (app) =>
        app.use(() => {
          throw 1n
        }),
    },
    'an async error listener of the app rejects': {
      build: (app) => {
        app.on('error', async () => {
          await pause(5)
        })
        app.use(fails)
      },
    },
  }
}

/** Every place that takes a value of the application, with every hostile value. */
function hostileUses(): Record<string, Mistake> {
  const list: Record<string, Mistake> = {}
  for (const [name, hostile] of Object.entries(hostileValues())) {
    const rejects = async (): Promise<never> => {
      await pause(2)
      throw hostile()
    }
    const throws = (): never => {
      throw hostile()
    }
    const settle = async (client: RawClient): Promise<void> => {
      await client.answer()
      client.write(textFrame(JSON.stringify({ type: 'x', id: 1, data: 1 })))
      await pause(30)
      client.reset()
      await pause(20)
    }
    const speaks = { 'Sec-WebSocket-Protocol': 'koaws.v1' }
    const add = (what: string, mistake: Mistake): void => {
      list[`${what} ${name}`] = { attach: true, client: settle, ...mistake }
    }
    add('the chain throws', { build: (app) => app.use(throws) })
    add('the chain throws, behind an accept inside,', {
      build: (app) => app.use(async (ctx) => void (await ws(ctx)(), throws())),
    })
    add('the handler throws', { build: (app) => app.use(accept(throws)) })
    add('the handler rejects with', { build: (app) => app.use(accept(rejects)) })
    add('the handler returns', { build: (app) => app.use(accept(() => hostile())) })
    for (const [how, validate] of Object.entries({ throws, rejects, returns: () => hostile() })) {
      add(`the schema of a client's answer ${how}`, {
        build: (app) => {
          const reply = { '~standard': { version: 1, vendor: 'test', validate } }
          const definition = protocol({ ask: { push: true, reply: reply as never } })
          const served = messages(definition).onOpen((connection) => {
            void connection.request('ask')
          })
          app.use(accept(served as never))
        },
        headers: speaks,
        client: async (client) => {
          await client.answer()
          client.write(textFrame(JSON.stringify({ type: 'koaws:reply', id: 1, data: 1 })))
          await pause(20)
        },
      })
    }
    add('a message listener throws', {
      build: (app) => app.use(accept((connection) => void connection.on('message', throws))),
    })
    add('a message listener rejects with', {
      build: (app) => app.use(accept((connection) => void connection.on('message', rejects))),
    })
    add('a message listener returns', {
      build: (app) =>
        app.use(accept((connection) => void connection.on('message', () => hostile()))),
    })
    add('onmessage returns', {
      build: (app) =>
        app.use(
          accept((connection) => {
            connection.onmessage = () => hostile()
            connection.addEventListener('message', rejects)
          }),
        ),
    })
    add('a late close listener returns', {
      build: (app) =>
        app.use(
          accept(async (connection) => {
            await connection.closed
            connection.on('close', () => hostile())
            connection.on('close', rejects)
          }),
        ),
    })
    for (const [hook, how] of [
      ['throws', throws],
      ['rejects with', rejects],
      ['returns', () => hostile()],
    ] as const) {
      add(`onConnect ${hook}`, {
        options: { onConnect: how },
        build: (app) => app.use(accept(quiet)),
      })
      add(`onConnect ${hook}, accepted inside,`, {
        options: { onConnect: how },
        build: (app) => app.use(async (ctx) => void (await ws(ctx)())),
      })
      add(`onDisconnect ${hook}`, {
        options: { onDisconnect: how },
        build: (app) => app.use(accept(quiet)),
      })
      for (const option of ['user', 'filter', 'origin', 'address'] as const) {
        add(`the option ${option} ${hook}`, {
          options: { [option]: how, ...(option === 'address' && { maxPerAddress: 5 }) },
          build: (app) => app.use(accept(quiet)),
          headers: { Origin: 'http://localhost' },
        })
      }
      for (const option of ['rooms', 'expiresAt', 'subprotocol'] as const) {
        add(`the option ${option} of a route ${hook}`, {
          build: (app) => app.use(accept(quiet, { [option]: how } as never)),
          headers: { 'Sec-WebSocket-Protocol': 'mine' },
        })
      }
      add(`presence.info ${hook}`, {
        options: { presence: { rooms: ['r'], info: how as never } },
        build: (app) => app.use(accept((connection) => connection.join('r'))),
        headers: speaks,
      })
      add(`a message handler ${hook}`, {
        build: (app) => app.use(accept(messages().on('x', how as never))),
        headers: speaks,
      })
      add(`message middleware ${hook}`, {
        build: (app) =>
          app.use(
            accept(
              messages()
                .use(how as never)
                .on('x', quiet),
            ),
          ),
        headers: speaks,
      })
      add(`onOpen ${hook}`, {
        build: (app) => app.use(accept(messages().onOpen(how).on('x', quiet))),
        headers: speaks,
      })
      add(`onClose ${hook}`, {
        build: (app) => app.use(accept(messages().onClose(how).on('x', quiet))),
        headers: speaks,
      })
      add(`authenticate ${hook}`, {
        build: (app) => app.use(accept(messages().on('x', quiet), { authenticate: how as never })),
        headers: speaks,
        client: async (client) => {
          await client.answer()
          client.write(
            textFrame(JSON.stringify({ type: 'koaws:auth', id: 1, data: { token: 't' } })),
          )
          await pause(30)
          client.reset()
          await pause(20)
        },
      })
      add(`a schema ${hook}`, {
        build: (app) => {
          const schema = { '~standard': { version: 1, vendor: 'test', validate: how } }
          app.use(accept(messages().on('x', schema as never, quiet)))
        },
        headers: speaks,
      })
    }
  }
  return list
}

async function run(name: string, mistake: Mistake, attach: boolean): Promise<void> {
  const app = new Koa()
  const errors: string[] = []
  app.on('error', (error: { code?: string; message: string }) => {
    errors.push(error.code ?? error.message)
    if (mistake.deafErrors) throw new Error('the error listener throws')
  })
  const hub = koaWs({ heartbeat: false, ...mistake.options })
  let reach: () => void = quiet
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  app.use((_ctx, next) => {
    reach()
    return next()
  })
  mistake.before?.(app)
  app.use(hub)
  mistake.build(app, hub)
  const server = createServer(app.callback())
  if (attach) hub.attach(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = await rawClient((server.address() as AddressInfo).port)
  client.write(handshake('/', mistake.headers))
  let status: number | null = null
  try {
    if (mistake.client) await mistake.client(client, reached)
    else {
      await client.until(() => client.text.includes('\r\n'))
      status = Number(client.text.split(' ')[1])
    }
  } catch (error) {
    errors.push(`client: ${(error as Error).message}`)
  }
  const { hears } = mistake
  for (let waits = 0; hears && !errors.includes(hears) && waits < 3_000; waits++) await pause()
  await pause(60) // promises without an await have settled by then
  client.socket.destroy()
  void hub.close({ timeout: 100 })
  server.close()
  process.stdout.write(`end ${name} ${JSON.stringify({ status, errors } satisfies Seen)}\n`)
}

/** The number of mistakes that run at a time. */
const AT_ONCE = 40

const [which = 'mistakes', only = ''] = process.argv.slice(2)
if (process.env['SUBSCRIBE'] === '1') {
  for (const channel of Object.values(channels)) channel.subscribe(() => {})
}
const waiting = Object.entries(which === 'hostile' ? hostileUses() : mistakes())
  .filter(([name]) => name.includes(only))
  .flatMap(([name, mistake]) =>
    (mistake.attach === undefined ? [true, false] : [mistake.attach]).map((attach) => ({
      name: attach ? name : `${name}, first upgrade`,
      mistake,
      attach,
    })),
  )
async function work(): Promise<void> {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    process.stdout.write(`begin ${next.name}\n`)
    await run(next.name, next.mistake, next.attach)
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work))
process.stdout.write('done\n')
process.exit(0)
