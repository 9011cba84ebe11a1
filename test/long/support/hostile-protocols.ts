import { type } from 'arktype'
import * as v from 'valibot'
import { z } from 'zod'
import { type Protocol, type ProtocolDefinition, protocol } from '../../../lib/index.ts'

/** What every attacked route handles, whatever library made its schemas. */
export const TYPES = ['echo', 'say', 'typing', 'later', 'boom', 'stopped', 'twice']

/** The one that asks the client in turn. */
export const ASKING_TYPES = ['echo', 'say', 'ask', 'checked', 'typing']

const late = (value: unknown): Promise<boolean> =>
  new Promise((resolve) => setImmediate(() => resolve(typeof value === 'string')))

const common = { typing: {}, stopped: {}, twice: {}, ask: {} }

/** The same protocol three times over, and one that asks. */
export const PROTOCOLS: Readonly<Record<string, Protocol<ProtocolDefinition>>> = {
  zod: protocol({
    ...common,
    echo: { data: z.unknown() },
    say: { data: z.object({ text: z.string().max(20) }), reply: z.object({ ok: z.boolean() }) },
    later: { data: z.array(z.number()), reply: z.number() },
    boom: { data: z.object({ how: z.string() }) },
    said: { push: z.object({ text: z.string() }) },
  }),
  valibot: protocol({
    ...common,
    echo: { data: v.unknown() },
    say: {
      data: v.object({ text: v.pipe(v.string(), v.maxLength(20)) }),
      reply: v.object({ ok: v.boolean() }),
    },
    later: { data: v.array(v.number()), reply: v.number() },
    boom: { data: v.object({ how: v.string() }) },
    said: { push: v.object({ text: v.string() }) },
  }),
  arktype: protocol({
    ...common,
    echo: { data: type('unknown') },
    say: { data: type({ text: 'string <= 20' }), reply: type({ ok: 'boolean' }) },
    later: { data: type('number[]'), reply: type('number') },
    boom: { data: type({ how: 'string' }) },
    said: { push: type({ text: 'string' }) },
  }),
  asks: protocol({
    ...common,
    echo: { data: z.unknown() },
    say: { data: z.object({ text: z.string().max(20) }), reply: z.object({ ok: z.boolean() }) },
    checked: { data: z.object({ text: z.string().refine(late) }) },
    said: { push: z.object({ text: z.string() }) },
    confirm: { push: z.number(), reply: z.boolean() },
  }),
}

/** What is known of a route beforehand. */
export interface HostileRoute {
  readonly path: string
  readonly types: readonly string[]
  /** The protocol that it speaks; null where it has none, and types and data are not checked. */
  readonly protocol: Protocol<ProtocolDefinition> | null
  /** Nobody is closed for bad messages. */
  readonly patient: boolean
  /** What is dropped can be computed. */
  readonly exact: boolean
  /** It asks the client: whether a bad answer still counts depends on time. */
  readonly asks: boolean
  readonly authenticates: boolean
}

const route = (path: string, given: Partial<HostileRoute>): HostileRoute => ({
  path,
  types: TYPES,
  protocol: PROTOCOLS['zod'] ?? null,
  patient: true,
  exact: true,
  asks: false,
  authenticates: false,
  ...given,
})

/** The tokens of the attackers; the first two are taken. */
export const TOKENS = ['ann', 'ann', 'bob', 'bad', 'bad', '', 'a b', 'ä', 'slow']

export const ROUTES: readonly HostileRoute[] = [
  route('/zod', {}),
  route('/valibot', { protocol: PROTOCOLS['valibot'] as Protocol }),
  route('/arktype', { protocol: PROTOCOLS['arktype'] as Protocol }),
  route('/open', { protocol: null }),
  route('/asks', { protocol: PROTOCOLS['asks'] as Protocol, types: ASKING_TYPES, asks: true }),
  route('/strict', { patient: false, exact: false }),
  route('/auth', { exact: false, authenticates: true }),
]
