// What one instance knows, and its answers to the instance that serves a page.

import type { Hub, HubStatus } from '../index.ts'
import { type Closed, Closes } from './closes.ts'
import { type Details, detailsOf, type Row, rowOf } from './facts.ts'
import { type Groups, groupVisitor, readGroupSearch } from './groups.ts'
import { listen } from './listening.ts'
import { Members } from './members.ts'
import type { ResolvedOptions } from './options.ts'
import { membersOf, numberOf, oneOf } from './reading.ts'
import { type Recorded, Recorders, readSubject } from './recorders.ts'
import { Refusals, type Refused } from './refusals.ts'
import { type Sample, Sampler } from './sampler.ts'
import { Scans } from './scans.ts'
import { type Found, pageVisitor, readSearch } from './search.ts'
import { type Timeline, Timelines } from './timeline.ts'

/** The name of the questions between instances. */
export const QUESTION = 'koaws:inspector'

/** The state of an instance. */
export interface InstanceStatus
  extends Pick<
    HubStatus,
    | 'connections'
    | 'rooms'
    | 'users'
    | 'pending'
    | 'ready'
    | 'reasons'
    | 'draining'
    | 'drops'
    | 'backplane'
  > {
  /** Resident memory of the process, in bytes. */
  readonly memory: number
  /** In seconds. */
  readonly uptime: number
  readonly pid: number
  readonly node: string
}

/** The questions, and the answer of one instance to each. */
export interface InstanceReplies {
  samples: {
    readonly status: InstanceStatus
    readonly samples: readonly Sample[]
  }
  connections: Omit<Found, 'page'> & { readonly rows: readonly (Row & { readonly key: number })[] }
  /** Null where the connection is not, and was not. */
  connection: {
    readonly details: Details | null
    readonly closed: Closed | null
    readonly timeline: Timeline | null
    readonly messages: readonly Recorded[]
  } | null
  groups: Groups
  messages: readonly Recorded[]
  refusals: readonly Refused[]
  closes: readonly Closed[]
}

/** The name of a question. */
export type Asked = keyof InstanceReplies

const ASKED = [
  'samples',
  'connections',
  'connection',
  'groups',
  'messages',
  'refusals',
  'closes',
] as const satisfies readonly Asked[]

export class InstanceView {
  readonly members: Members
  readonly timelines: Timelines
  readonly recorders: Recorders
  readonly #hub: Hub
  readonly #options: ResolvedOptions
  readonly #sampler: Sampler
  readonly #scans: Scans
  readonly #refusals: Refusals
  readonly #closes: Closes

  constructor(hub: Hub, options: ResolvedOptions) {
    this.#hub = hub
    this.#options = options
    this.members = new Members(hub)
    this.timelines = new Timelines(hub)
    this.recorders = new Recorders(this.members, options.bodies)
    this.#sampler = new Sampler(hub, this.members)
    this.#scans = new Scans(hub)
    this.#refusals = new Refusals(this.timelines)
    this.#closes = new Closes(this.members)
  }

  /** Listens until the hub has closed. */
  start(): void {
    const { instance } = this.members
    const unlisten = listen({
      connection: ({ connection }) => {
        const mine = this.members.accepted(connection)
        if (mine) this.timelines.keep(mine.id, mine.state)
      },
      upgrade: (event) => {
        // Without an instance, the handshake was refused before a hub was chosen.
        if (event.instance === instance || event.instance === undefined) {
          this.#refusals.decided(event)
        }
      },
      close: (event) => this.#closes.ended(event),
      shutdown: (event) => {
        if (event.instance === instance && event.stage === 'end') end()
      },
    })
    const unanswer = this.#hub.answer(QUESTION, (data) => this.#answer(data))
    this.#sampler.start()
    const end = (): void => {
      unlisten()
      unanswer()
      this.#sampler.stop()
      this.recorders.stop()
    }
  }

  #answer(given: unknown): Promise<InstanceReplies[Asked]> | InstanceReplies[Asked] {
    const { what, ...asked } = membersOf(given)
    switch (oneOf(what, ASKED)) {
      case 'samples':
        return this.#samples(membersOf(asked['since'])[this.members.instance])
      case 'connections':
        return this.#page(asked)
      case 'connection':
        return this.#connection(asked['id'])
      case 'groups': {
        const search = readGroupSearch(asked)
        return this.#scans.run(`groups ${JSON.stringify(search)}`, () => groupVisitor(search))
      }
      case 'messages': {
        const subject = readSubject(asked)
        return subject ? this.recorders.look(subject) : []
      }
      case 'refusals':
        return this.#refusals.all
      case 'closes':
        return this.#closes.all
    }
  }

  #samples(since: unknown): InstanceReplies['samples'] {
    return { status: statusOf(this.#hub), samples: this.#sampler.since(numberOf(since, 0)) }
  }

  async #page(asked: unknown): Promise<InstanceReplies['connections']> {
    const search = readSearch(asked)
    const key = `page ${JSON.stringify(search)}`
    const { page, matched, isWhole } = await this.#scans.run(key, () => pageVisitor(search))
    const rows = page.flatMap(({ key, id }) => {
      const connection = this.members.find(id)
      return connection ? [{ ...rowOf(connection), key }] : []
    })
    return { rows, matched, isWhole }
  }

  #connection(id: unknown): InstanceReplies['connection'] {
    const subject = readSubject({ kind: 'connection', name: id })
    if (!subject) return null
    const connection = this.members.find(subject.name)
    const closed = connection ? undefined : this.#closes.find(subject.name)
    if (!connection && !closed) return null
    return {
      details: connection ? detailsOf(connection, this.#options) : null,
      closed: closed ?? null,
      timeline: this.timelines.ofConnection(subject.name) ?? null,
      messages: connection ? this.recorders.look(subject) : [],
    }
  }
}

function statusOf(hub: Hub): InstanceStatus {
  const { connections, rooms, users, pending, ready, reasons, draining, backplane, drops } =
    hub.status()
  return {
    ...{ connections, rooms, users, pending, ready, reasons, draining, drops, backplane },
    memory: process.memoryUsage.rss(),
    uptime: Math.round(process.uptime()),
    pid: process.pid,
    node: process.version,
  }
}
