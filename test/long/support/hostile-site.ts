import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  accept,
  type Connection,
  type DropEvent,
  type Handler,
  type Message,
  MessageError,
  type Messages,
  messages,
  type Protocol,
  type ProtocolDefinition,
} from '../../../lib/index.ts'
import { type Site, serve, turn } from '../../support/server.ts'
import { type HostileRoute, ROUTES } from './hostile-protocols.ts'

/** An app under attack, with its observations. */
export interface HostileSite extends Site {
  /** The counts by path and reason. */
  readonly drops: Record<string, Record<string, number>>
  /** Reported errors, by the type of the message and the text. */
  readonly failures: Record<string, number>
  /** The results of requests to the client. */
  readonly asked: Record<string, number>
  readonly count: { opened: number; closed: number; handled: number }
  /** Stops counting. */
  end(): void
}

type AnyMessages = Messages<ProtocolDefinition>
type AnyMessage = Message<unknown, unknown>

/**
 * Makes an app with a route per schema library, and routes that close, make requests or
 * authenticate.
 */
export async function hostileSite(): Promise<HostileSite> {
  const drops: HostileSite['drops'] = {}
  const failures: HostileSite['failures'] = {}
  const asked: HostileSite['asked'] = {}
  const count = { opened: 0, closed: 0, handled: 0 }
  const add = (counts: Record<string, number>, name: string, many = 1): void => {
    counts[name] = (counts[name] ?? 0) + many
  }

  const onDrop = (event: unknown): void => {
    const { reason, count: many, connection, instance } = event as DropEvent
    if (instance !== site.hub.status().id) return // the channel is that of the process
    const path = (connection as Connection | undefined)?.path ?? ''
    drops[path] ??= {}
    add(drops[path], reason, many)
  }
  subscribe('koaws:drop', onDrop)

  const ask = async ({ connection }: AnyMessage): Promise<unknown> => {
    try {
      const answer = await connection.request('confirm', 1, { timeout: 100 })
      add(asked, typeof answer === 'boolean' ? 'answered' : `answered with ${typeof answer}`)
    } catch (error) {
      const known = error instanceof Error && 'code' in error && /^ERR_KOAWS/.test(`${error.code}`)
      if (known) add(asked, (error as unknown as { code: string }).code)
      else add(asked, error instanceof MessageError ? 'an error of the client' : String(error))
    }
    return null
  }

  const build = (route: HostileRoute): AnyMessages => {
    const options = {
      ...(route.patient && { maxOffences: Number.MAX_SAFE_INTEGER }),
      ...(route.asks && { concurrency: 4 }),
    }
    const served = (
      route.protocol ? messages(route.protocol as Protocol, options) : messages(options)
    ) as AnyMessages
    served
      .use(async (message, next) => {
        count.handled++
        if (message.type === 'stopped') return
        await next()
        if (message.type === 'twice') await next()
      })
      .onOpen((connection) => {
        count.opened++
        connection.join('everybody', `route ${route.path}`)
      })
      .onClose(() => void count.closed++)
    for (const type of route.types) {
      served.on(type, type === 'ask' ? ask : (HANDLERS[type] as typeof ask))
    }
    return served
  }

  const site = await serve(
    (app, hub) => {
      for (const route of ROUTES) {
        const options = route.authenticates ? { authenticate, user, authenticateTimeout: 500 } : {}
        app.use(hub.route(route.path, accept(build(route) as unknown as Handler, options)))
      }
    },
    { heartbeat: { interval: 5_000, timeout: 4_000 }, closeTimeout: 60_000 },
  )
  site.app.on('error', (error, where) => {
    site.errors.length = 0 // counted here; the array would fill the memory
    let text: string
    try {
      text = String(error.message).slice(0, 100)
    } catch {
      text = 'an error that cannot be read'
    }
    add(failures, `${where?.messageType}: ${text}`)
  })
  return { ...site, drops, failures, asked, count, end: () => unsubscribe('koaws:drop', onDrop) }
}

const user = (ctx: { state: { user?: string } }): string | undefined => ctx.state.user

/** Accepts ann at once, bob and others later, and rejects bad. */
async function authenticate(
  ctx: { get(name: string): string; state: { user?: string }; throw(...args: unknown[]): never },
  next: () => Promise<void>,
): Promise<void> {
  const token = ctx.get('authorization').replace('Bearer ', '')
  if (token !== 'ann') await turn()
  if (token === 'slow') await new Promise((resolve) => setTimeout(resolve, 600).unref())
  if (token === 'bad') ctx.throw(401, 'bad token')
  ctx.state.user = token
  await next()
}

const HANDLERS: Record<string, (message: AnyMessage) => unknown> = {
  echo: (message) => message.data,
  say: ({ data, connection }) => {
    const text = (data as { text?: unknown } | undefined)?.text
    if (typeof text === 'string' && text.length % 4 === 0) connection.push('said', { text })
    return { ok: true }
  },
  typing: () => {},
  later: async ({ data }) => {
    await turn()
    return Array.isArray(data) ? data.length : 0
  },
  boom: ({ data }) => FAILURES[String((data as { how?: unknown } | null)?.how)]?.(),
  stopped: () => 'nobody gets here',
  twice: () => 'once',
  checked: () => true,
}

const thrower = (): never => {
  throw new Error('a trap')
}

const FAILURES: Record<string, (() => unknown) | undefined> = Object.assign(Object.create(null), {
  fail() {
    throw new Error('failed')
  },
  expose() {
    throw Object.assign(new Error('exposed'), { status: 418, expose: true, data: { x: 1 } })
  },
  forbid() {
    throw new MessageError(403, 'no', { code: 'forbidden' })
  },
  null() {
    throw null
  },
  proxy: () => Promise.reject(new Proxy({}, { get: thrower, getPrototypeOf: thrower })),
  getters: () =>
    Promise.reject(
      Object.defineProperties(new Error('x'), {
        status: { get: thrower },
        message: { get: thrower },
      }),
    ),
  bigint: () => 1n,
  cycle() {
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    return cycle
  },
  function: () => thrower,
  // biome-ignore lint/suspicious/noThenProperty: that is what it is about
  then: () => ({ then: thrower }),
  async later() {
    await turn()
    throw new Error('failed later')
  },
})
