import { AdapterError } from '../../errors.ts'
import { CONNECT_TIMEOUT, type RedisConnection, type RedisDialect } from './connection.ts'

type Results = readonly (readonly [error: Error | null, result: unknown])[]

/** What is used of a client of ioredis. */
interface Client {
  duplicate(overrides: object): Client
  connect(): Promise<unknown>
  disconnect(): void
  publish(channel: string, payload: Buffer): Promise<unknown>
  pipeline(commands: readonly (readonly unknown[])[]): { exec(): Promise<Results | null> }
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  on(event: string, listener: (...given: never[]) => void): unknown
}

/** What is used of a cluster client of ioredis. */
interface Cluster {
  readonly isCluster: true
  duplicate(nodes: undefined, overrides: object): Cluster
  connect(): Promise<unknown>
  disconnect(): void
  nodes(role: 'master'): readonly Client[]
  on(event: string, listener: (...given: never[]) => void): unknown
}

/** No retries of its own, nothing that waits inside. */
const OURS = {
  lazyConnect: true,
  connectTimeout: CONNECT_TIMEOUT,
  disconnectTimeout: 0,
  commandTimeout: undefined,
  socketTimeout: undefined,
  retryStrategy: () => null,
  sentinelRetryStrategy: () => null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableAutoPipelining: false,
}

export function isIoredis(client: object): client is Client {
  return (
    typeof (client as { status?: unknown }).status === 'string' &&
    !('isCluster' in client && client.isCluster)
  )
}

export function isIoredisCluster(client: object): client is Cluster {
  return 'isCluster' in client && client.isCluster === true
}

export function ioredis(template: Client): RedisDialect {
  return {
    async pair(ended) {
      return {
        publisher: new IoredisConnection(template, ended),
        subscriber: new IoredisConnection(template, ended),
      }
    },
  }
}

export function ioredisCluster(template: Cluster): RedisDialect {
  return {
    async pair(ended) {
      const cluster = template.duplicate(undefined, {
        lazyConnect: true,
        clusterRetryStrategy: () => null,
        enableReadyCheck: false, // it would ask any node, be it there or not
        slotsRefreshTimeout: CONNECT_TIMEOUT,
        redisOptions: { connectTimeout: CONNECT_TIMEOUT, disconnectTimeout: 0 },
      })
      cluster.on('error', ignore)
      try {
        await cluster.connect()
        const masters = cluster.nodes('master')
        const node = masters[Math.floor(Math.random() * masters.length)]
        if (!node) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'The cluster has no master.')
        return await ioredis(node).pair(ended)
      } finally {
        cluster.disconnect()
      }
    },
  }
}

/** A publish that leaves with others of its turn. */
interface Pending {
  readonly channel: string
  readonly payload: Buffer
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

class IoredisConnection implements RedisConnection {
  readonly #client: Client
  #pending: Pending[] = []
  #hear: ((payload: Buffer) => void) | null = null

  constructor(template: Client, ended: (error: Error) => void) {
    this.#client = template.duplicate(OURS)
    this.#client.on('error', (error: Error) => ended(error))
    this.#client.on('close', () => ended(new Error('Redis closed the connection')))
    this.#client.on('messageBuffer', (_channel: Buffer, payload: Buffer) => this.#hear?.(payload))
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  publish(channels: readonly string[], payload: Buffer): Promise<unknown> {
    if (channels.length === 1) return this.#publish(channels[0] as string, payload)
    return Promise.all(channels.map((channel) => this.#publish(channel, payload)))
  }

  async subscribe(channels: readonly string[], hear: (payload: Buffer) => void): Promise<unknown> {
    this.#hear = hear
    return this.#client.subscribe(...channels)
  }

  unsubscribe(channels: readonly string[]): Promise<unknown> {
    return this.#client.unsubscribe(...channels)
  }

  destroy(): void {
    this.#hear = null
    this.#client.disconnect()
  }

  /** ioredis writes each command by itself, unless they are in a pipeline. */
  #publish(channel: string, payload: Buffer): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#pending.push({ channel, payload, resolve, reject }) === 1) {
        queueMicrotask(() => this.#flush())
      }
    })
  }

  #flush(): void {
    const all = this.#pending
    this.#pending = []
    const [first] = all as [Pending]
    if (all.length === 1) {
      this.#client.publish(first.channel, first.payload).then(first.resolve, first.reject)
      return
    }
    const commands = all.map(({ channel, payload }) => ['publish', channel, payload])
    this.#client
      .pipeline(commands)
      .exec()
      .then((results) => {
        for (const [i, { resolve, reject }] of all.entries()) {
          const [error, result] = results?.[i] ?? [new Error('Redis gave no answer'), null]
          if (error) reject(error)
          else resolve(result)
        }
      })
      .catch((error: Error) => {
        for (const { reject } of all) reject(error)
      })
  }
}

function ignore(): void {}
