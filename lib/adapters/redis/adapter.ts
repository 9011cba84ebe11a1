// `redisAdapter()`, and the detection of a client's library.
import type { Adapter, MaxQueued } from '../../backplane/adapter.ts'
import { OptionsError } from '../../errors.ts'
import { fieldsOf } from '../../fields.ts'
import { describe, validate } from '../../validate.ts'
import { checkAdapterOptions } from '../options.ts'
import type { RedisDialect } from './connection.ts'
import { ioredis, ioredisCluster, isIoredis, isIoredisCluster } from './ioredis.ts'
import { isNodeRedis, isNodeRedisCluster, nodeRedis, nodeRedisCluster } from './node-redis.ts'
import { checkPrefix } from './prefix.ts'
import { type LinkPart, SharedLink } from './shared.ts'

/** A client of node-redis (5 or 6) or ioredis (5.9 or 6), or a cluster client of either. */
export interface RedisClient {
  /** Returns a client with the same options; the `given` options take precedence. */
  duplicate(...given: never[]): unknown
}

/** The options of `redisAdapter()`. */
export interface RedisAdapterOptions {
  /**
   * A client as the template for the adapter's own connections: two per hub, with the server,
   * credentials and TLS of this client. The adapter does not use the client itself, and it need not
   * be connected.
   */
  client: RedisClient
  /**
   * The prefix of every channel, and of every key of the history. Applications that share a Redis
   * need different prefixes, as do versions of one application that must be isolated. It must not
   * contain `room:`, `user:`, `instance:` or `log:` as a word, because channels of two applications
   * could then be equal, and its first braces must not be empty. @default 'koaws:'
   */
  prefix?: string | undefined
  /** The interval of an instance's beats to the other instances, in milliseconds. @default 2_000 */
  heartbeat?: number | undefined
  /** The bounds of the queue during a Redis outage. @default 100,000 messages and 16 MiB */
  maxQueued?: MaxQueued | undefined
}

/**
 * Returns an adapter that connects instances through Redis pub/sub. Each instance subscribes only
 * to the rooms and users of its own connections. The hub keeps working during a Redis outage, and
 * the adapter reconnects by itself.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { redisAdapter } from 'koaws/redis'
 * import { testApp } from 'koaws/testing'
 * import { createClient } from 'redis'
 *
 * const client = createClient({ url: process.env['REDIS_URL'] })
 * const [here, there] = [redisAdapter({ client }), redisAdapter({ client })].map((adapter) =>
 *   koaWs({ adapter }),
 * )
 * const app = new Koa()
 * app.use(here)
 * app.use(
 *   accept(async (connection) => {
 *     await connection.join('lobby') // resolves when messages of other instances arrive
 *     connection.send('joined')
 *   }),
 * )
 *
 * const socket = await testApp(app).connect('/')
 * console.log(await socket.next()) // joined
 * there.room('lobby').send('from another instance')
 * console.log(await socket.next()) // from another instance
 * await Promise.all([here.close(), there.close()])
 * ```
 *
 * @param options the client, and the prefix
 * @returns the adapter, for the option `adapter` of one `koaWs()`
 * @throws OptionsError without a supported client, and for an unknown or invalid option
 */
export function redisAdapter(options: RedisAdapterOptions): Adapter {
  validate('redisAdapter()', options, {
    client: (value) =>
      typeof fieldsOf(value)['duplicate'] === 'function'
        ? null
        : `must be a client of node-redis or ioredis, not ${describe(value)}.`,
    prefix: checkPrefix,
    ...checkAdapterOptions,
  })
  const { client, prefix = 'koaws:', heartbeat, maxQueued } = options
  if (client === undefined) {
    throw new OptionsError(
      'redisAdapter() needs the option "client": a client of node-redis or ioredis.',
    )
  }
  const dialect = dialectOf(client)
  const links = new Map<string, SharedLink>()
  const linkFor = (id: string, part: LinkPart): SharedLink => {
    const known = links.get(id)
    if (known && !known.has(part)) return known
    const settings = { id, prefix, heartbeat: heartbeat ?? 2_000 }
    const link: SharedLink = new SharedLink(dialect, settings, () => {
      if (links.get(id) === link) links.delete(id)
    })
    links.set(id, link)
    return link
  }
  return {
    heartbeat,
    maxQueued,
    connect: (id, events) => linkFor(id, 'hub').connect(events),
    history: (id, limits, events) => linkFor(id, 'history').history(limits, events),
    // The scripts read several keys, which a cluster keeps on several nodes.
    retries: dialect.masters ? undefined : (id) => linkFor(id, 'retries').retries(),
  }
}

function dialectOf(client: object): RedisDialect {
  if (isIoredisCluster(client)) return ioredisCluster(client)
  if (isIoredis(client)) return ioredis(client)
  if (isNodeRedisCluster(client)) return nodeRedisCluster(client)
  if (isNodeRedis(client)) return nodeRedis(client)
  throw new OptionsError(
    'redisAdapter(): the option "client" is of an unsupported library. Give it the result of createClient() or createCluster() of "redis", or a Redis or Cluster of "ioredis".',
  )
}
