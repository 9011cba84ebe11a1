import { type } from 'arktype'
import * as v from 'valibot'
import { z } from 'zod'
import { type Protocol, type ProtocolDefinition, protocol } from '../../../lib/index.ts'

/** The message types of every attacked route, for all schema libraries. */
export const TYPES = ['echo', 'say', 'typing', 'later', 'boom', 'stopped', 'twice']

/** The message types of the route that makes requests to the client. */
export const ASKING_TYPES = ['echo', 'say', 'ask', 'checked', 'typing']

const late = (value: unknown): Promise<boolean> =>
  new Promise((resolve) => setImmediate(() => resolve(typeof value === 'string')))

const common = { typing: {}, stopped: {}, twice: {}, ask: {} }

/** The same protocol in three schema libraries, and a protocol with requests to the client. */
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

/** The properties of a route. */
export interface HostileRoute {
  readonly path: string
  readonly types: readonly string[]
  /** The protocol of the route; null when types and data are unchecked. */
  readonly protocol: Protocol<ProtocolDefinition> | null
  /** Bad messages never close a connection. */
  readonly patient: boolean
  /** The counts of dropped messages can be computed. */
  readonly exact: boolean
  /** The route makes requests to the client, so the count of bad answers depends on timing. */
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

/** The tokens of the attackers; the server accepts the first two at once. */
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
