// Answers the page: asks all instances, and joins their answers.

import type { Context } from 'koa'
import {
  type Connection,
  type Handler,
  type Hub,
  type Message,
  MessageError,
  messages,
} from '../index.ts'
import { Actions } from './actions.ts'
import { joinGroups, readGroupSearch } from './groups.ts'
import { type Asked, type InstanceReplies, type InstanceView, QUESTION } from './instance.ts'
import type { ResolvedOptions } from './options.ts'
import { membersOf } from './reading.ts'
import { readSubject } from './recorders.ts'
import { inOrder, PAGE, readSearch } from './search.ts'

/** How long instances have for an answer, in milliseconds: longer than the longest scan. */
const PATIENCE = 4_000
const MOST_REFUSALS = 200

/** An answer with the instance that gave it. */
type From<T> = T & { readonly instance: string }

interface Answers<T> {
  readonly answers: readonly { readonly instance: string; readonly data: T }[]
  readonly missing: readonly string[]
}

/** The handler of the page's sockets. */
export function inspectorService(hub: Hub, view: InstanceView, options: ResolvedOptions): Handler {
  const actions = new Actions(hub, options)
  const contexts = new WeakMap<Connection, Context>()

  const ask = async <A extends Asked>(
    what: A,
    data: object = {},
  ): Promise<Answers<InstanceReplies[A]>> => {
    const answers = await hub.ask(QUESTION, { ...data, what }, { timeout: PATIENCE })
    // The instances run this file, or an earlier form of it.
    const typed = answers.map(({ instance, data }) => ({
      instance,
      data: data as InstanceReplies[A],
    }))
    return { answers: typed, missing: answers.missing }
  }

  const connections = async ({ data }: Message) => {
    const search = readSearch(data)
    const { answers, missing } = await ask('connections', search)
    const rows = answers.flatMap(({ instance, data }) =>
      data.rows.map((row) => ({ ...row, instance })),
    )
    rows.sort((a, b) => inOrder(search, a, b))
    return {
      rows: rows.slice(0, PAGE),
      hasMore: rows.length >= PAGE,
      matched: answers.reduce((sum, { data }) => sum + data.matched, 0),
      isWhole: answers.every(({ data }) => data.isWhole),
      missing,
    }
  }

  const connection = async ({ data }: Message) => {
    const { answers, missing } = await ask('connection', { id: membersOf(data)['id'] })
    const found = answers.find((answer) => answer.data !== null)
    return { ...found?.data, instance: found?.instance ?? null, missing }
  }

  const group = async ({ data }: Message) => {
    const subject = readSubject(data)
    if (!subject) throw new MessageError(400, 'The name is wrong.')
    const { kind, name } = subject
    const audience = kind === 'room' ? hub.room(name) : hub.user(name)
    const [count, position, recorded] = await Promise.all([
      audience.count(),
      audience.position().catch(() => null),
      ask('messages', subject),
    ])
    const all = recorded.answers.flatMap(({ instance, data }) =>
      data.map((message) => ({ ...message, instance })),
    )
    all.sort((a, b) => a.at - b.at)
    return { count, position, messages: all.slice(-50), missing: recorded.missing }
  }

  const latest = async (what: 'refusals' | 'closes') => {
    const { answers, missing } = await ask(what)
    const all: From<{ readonly at: number }>[] = answers.flatMap(({ instance, data }) =>
      data.map((one) => ({ ...one, instance })),
    )
    all.sort((a, b) => b.at - a.at)
    return { all: all.slice(0, MOST_REFUSALS), missing }
  }

  return messages({ maxMessage: 32 * 1024, concurrency: 4 })
    .onOpen((connection, ctx) => {
      contexts.set(connection, ctx as Context)
    })
    .on('hello', () => ({
      instance: view.members.instance,
      actions: actions.offered,
      bodies: options.bodies,
      state: options.redact !== undefined,
    }))
    .on('overview', async ({ data }) => {
      const { answers, missing } = await ask('samples', { since: membersOf(data)['since'] })
      return {
        instances: answers.map(({ instance, data }) => ({ instance, ...data })),
        missing,
        now: Date.now(),
      }
    })
    .on('connections', connections)
    .on('connection', connection)
    .on('groups', async ({ data }) => {
      const search = readGroupSearch(data)
      const { answers, missing } = await ask('groups', search)
      return { ...joinGroups(answers.map(({ data }) => data)), missing }
    })
    .on('group', group)
    .on('refusals', () => latest('refusals'))
    .on('closes', () => latest('closes'))
    .on('act', ({ data, connection }) => {
      const ctx = contexts.get(connection)
      if (!ctx) throw new MessageError(403, 'The socket is not open.')
      return actions.act(data, ctx)
    })
}
