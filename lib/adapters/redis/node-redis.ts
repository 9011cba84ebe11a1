import { AdapterError } from '../../errors.ts'
import { CONNECT_TIMEOUT, type RedisConnection, type RedisDialect } from './connection.ts'

/** What is used of a client of node-redis. */
interface Client {
  readonly options?: { readonly socket?: object; readonly commandOptions?: object } | undefined
  duplicate(overrides: object): Client
  connect(): Promise<unknown>
  destroy(): unknown
  publish(channel: string, payload: Buffer): Promise<unknown>
  subscribe(
    channels: readonly string[],
    listener: (payload: Buffer) => void,
    bufferMode: true,
  ): Promise<unknown>
  unsubscribe(channels: readonly string[]): Promise<unknown>
  on(event: string, listener: (error?: Error) => void): unknown
}

/** What is used of a cluster client of node-redis. */
interface Cluster {
  readonly _options?: { readonly defaults?: { readonly socket?: object } } | undefined
  readonly masters: readonly object[]
  duplicate(overrides: object): Cluster
  connect(): Promise<unknown>
  destroy(): unknown
  nodeClient(node: object): Client | Promise<Client>
  on(event: string, listener: (error?: Error) => void): unknown
}

/** No retries of its own. */
const OURS = {
  reconnectStrategy: false,
  connectTimeout: CONNECT_TIMEOUT,
  socketTimeout: undefined,
}

export function isNodeRedis(client: object): client is Client {
  return 'isReady' in client && 'isOpen' in client && !('masters' in client)
}

export function isNodeRedisCluster(client: object): client is Cluster {
  return 'masters' in client && 'nodeClient' in client
}

export function nodeRedis(template: Client): RedisDialect {
  return {
    async pair(ended) {
      return {
        publisher: new NodeRedisConnection(template, ended),
        subscriber: new NodeRedisConnection(template, ended),
      }
    },
  }
}

export function nodeRedisCluster(template: Cluster): RedisDialect {
  return {
    async pair(ended) {
      const defaults = template._options?.defaults
      const cluster = template.duplicate({
        minimizeConnections: true,
        // A node that is away or hangs, and is asked for the others, would be waited for without end.
        defaults: {
          ...defaults,
          socket: { ...defaults?.socket, ...OURS, socketTimeout: CONNECT_TIMEOUT },
        },
      })
      cluster.on('error', ignore)
      try {
        await cluster.connect()
        const { masters } = cluster
        const node = masters[Math.floor(Math.random() * masters.length)]
        if (!node) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'The cluster has no master.')
        const client = await cluster.nodeClient(node)
        return await nodeRedis(client).pair(ended)
      } finally {
        quietly(() => cluster.destroy())
      }
    },
  }
}

class NodeRedisConnection implements RedisConnection {
  readonly #client: Client

  constructor(template: Client, ended: (error: Error) => void) {
    const { socket, commandOptions } = template.options ?? {}
    this.#client = template.duplicate({
      socket: { ...socket, ...OURS },
      commandOptions: { ...commandOptions, timeout: undefined },
      disableOfflineQueue: true,
      pingInterval: 0,
    })
    const over = (error?: Error): void => ended(error ?? new Error('Redis closed the connection'))
    this.#client.on('error', over)
    this.#client.on('end', over)
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  publish(channels: readonly string[], payload: Buffer): Promise<unknown> {
    if (channels.length === 1) return this.#client.publish(channels[0] as string, payload)
    return Promise.all(channels.map((channel) => this.#client.publish(channel, payload)))
  }

  subscribe(channels: readonly string[], hear: (payload: Buffer) => void): Promise<unknown> {
    return this.#client.subscribe(channels, hear, true)
  }

  unsubscribe(channels: readonly string[]): Promise<unknown> {
    return this.#client.unsubscribe(channels)
  }

  destroy(): void {
    quietly(() => this.#client.destroy())
  }
}

/** Destroying what was never open throws. */
function quietly(act: () => unknown): void {
  try {
    act()
  } catch {}
}

function ignore(): void {}
