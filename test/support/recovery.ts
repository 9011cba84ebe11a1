import { accept, type Connection, type Hub, type KoaWsOptions, messages } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { openSocket, type Site, serve } from './server.ts'
import type { Wire } from './talk.ts'

/** A message of a client that recovers. */
export interface Placed extends Wire {
  room?: string
  position?: string
  once?: string
}

/** What a client presents. */
export interface Presented {
  previous?: string[]
  positions?: Record<string, string>
}

/** A client that speaks koaws.v1 and knows history. */
export class Returning {
  readonly socket: TestSocket
  /** The id of its connection. */
  id = ''

  constructor(socket: TestSocket) {
    this.socket = socket
  }

  async next(): Promise<Placed> {
    return (await this.socket.nextJson()) as Placed
  }

  /** Returns the next messages, as many as asked for. */
  async take(count: number): Promise<Placed[]> {
    const all: Placed[] = []
    while (all.length < count) all.push(await this.next())
    return all
  }

  /** Returns all messages up to an answer of the server, which comes after all that was sent before. */
  async rest(): Promise<Placed[]> {
    const id = 999
    this.socket.json({ type: 'koaws:ping', id })
    const all: Placed[] = []
    for (;;) {
      const message = await this.next()
      if (message.id === id) return all
      all.push(message)
    }
  }

  async leave(): Promise<void> {
    const closed = new Promise((resolve) => this.socket.once('close', resolve))
    this.socket.close()
    await closed
  }
}

/** Serves `/` with messages(): each connection joins the rooms of its query, and is the user of it. */
export function recoverySite(
  options: KoaWsOptions = {},
  handler: (connection: Connection, hub: Hub) => unknown = () => {},
): Promise<Site> {
  return serve(
    (app, hub) => {
      const chat = messages().onOpen((connection) => handler(connection as Connection, hub))
      const given = {
        user: (ctx: { query: { user?: unknown } }) => ctx.query.user as string | undefined,
        rooms: (ctx: { query: { rooms?: unknown } }) => roomsOf(ctx.query.rooms),
      }
      app.use(hub.route('/', accept(chat as never, given)))
      app.use(
        hub.route(
          '/raw',
          accept(() => {}, given),
        ),
      )
    },
    { history: { rooms: 'chat:*', users: true }, heartbeat: {}, ...options },
  )
}

function roomsOf(query: unknown): string[] {
  return typeof query === 'string' && query !== '' ? query.split(',') : []
}

/** Connects like a client that was there before, and reads the welcome. */
export async function comeBack(
  port: number,
  query: string,
  presented: Presented | null = {},
): Promise<Returning> {
  const protocols = ['koaws.v1', 'koaws.resume']
  const returning = new Returning(await openSocket(port, `/?${query}`, { protocols }))
  if (presented) returning.socket.json({ type: 'koaws:resume', data: presented })
  const welcome = await returning.next()
  if (welcome.type !== 'koaws:welcome') throw new Error(`${welcome.type} came before the welcome`)
  returning.id = (welcome.data as { connection: string }).connection
  return returning
}
