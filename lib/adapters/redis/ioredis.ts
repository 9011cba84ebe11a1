// Connections of ioredis.
import { AdapterError } from '../../errors.ts'
import { fieldsOf } from '../../fields.ts'
import {
  CONNECT_TIMEOUT,
  type Hear,
  type Masters,
  type RedisConnection,
  type RedisDialect,
  SLOTS,
  type Word,
} from './connection.ts'

interface Emitting {
  on(event: string, listener: (...given: never[]) => void): unknown
}

type Results = readonly (readonly [error: Error | null, result: unknown])[]

/** The part of an ioredis client that koaws uses. */
interface Client {
  /** The socket of the present attempt: undocumented. */
  stream?: Emitting | null | undefined
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined }
  duplicate(overrides: object): Client
  connect(): Promise<unknown>
  disconnect(): void
  call(command: string, ...words: string[]): Promise<unknown>
  callBuffer(...words: Word[]): Promise<unknown>
  publish(channel: string, payload: Buffer): Promise<unknown>
  pipeline(commands: readonly (readonly unknown[])[]): { exec(): Promise<Results | null> }
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  on(event: string, listener: (...given: never[]) => void): unknown
}

/** The part of an ioredis cluster client that koaws uses. */
interface Cluster {
  readonly isCluster: true
  /** The connection that a cluster client opens for its own subscriptions: undocumented. */
  readonly subscriber?: { start?: unknown } | undefined
  /** The nodes of each slot, as `host:port`, the master first. */
  readonly slots: readonly (readonly string[] | undefined)[]
  duplicate(nodes: undefined, overrides: object): Cluster
  connect(): Promise<unknown>
  disconnect(): void
  nodes(role: 'master'): readonly Client[]
  on(event: string, listener: (...given: never[]) => void): unknown
}

/** Options that turn off retries and queues of ioredis: the link and the hub have their own. */
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
  keyPrefix: '', // the adapter has its own prefix, and node-redis would not apply this one
}

export function isIoredis(client: object): client is Client {
  return (
    typeof fieldsOf(client)['status'] === 'string' && !('isCluster' in client && client.isCluster)
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
    pair: (ended) =>
      connected(template, async (cluster) => {
        const masters = cluster.nodes('master')
        const node = masters[Math.floor(Math.random() * masters.length)]
        if (!node) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'the Redis Cluster has no master')
        return ioredis(node).pair(ended)
      }),
    masters: (ended) => connected(template, async (cluster) => mastersOf(cluster, ended)),
  }
}

/** Connects a client to a cluster, and disconnects it after use. */
async function connected<T>(template: Cluster, use: (cluster: Cluster) => Promise<T>): Promise<T> {
  const cluster = template.duplicate(undefined, {
    lazyConnect: true,
    clusterRetryStrategy: () => null,
    enableReadyCheck: false, // the check would ask any node, including unreachable ones
    slotsRefreshTimeout: CONNECT_TIMEOUT,
    redisOptions: { connectTimeout: CONNECT_TIMEOUT, disconnectTimeout: 0 },
  })
  cluster.on('error', ignore)
  cluster.on('+node', guardSockets)
  // The client would open an unused connection with sockets that cannot be guarded.
  if (cluster.subscriber) cluster.subscriber.start = ignore
  try {
    await cluster.connect()
    return await use(cluster)
  } finally {
    cluster.disconnect()
  }
}

function mastersOf(cluster: Cluster, ended: (error: Error) => void): Masters {
  const byName = new Map<string | undefined, RedisConnection>()
  for (const node of cluster.nodes('master')) {
    const { host, port } = node.options
    byName.set(`${host}:${port}`, new IoredisConnection(node, ended))
  }
  const slots = Array.from({ length: SLOTS }, (_, slot) => byName.get(cluster.slots[slot]?.[0]))
  return { connections: new Set(byName.values()), of: (slot) => slots[slot] }
}

/** A command that leaves together with others of its turn. */
interface Pending {
  readonly command: ['publish', channel: string, payload: Buffer] | ['callBuffer', ...Word[]]
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

class IoredisConnection implements RedisConnection {
  readonly #client: Client
  #pending: Pending[] = []
  #hear: Hear | null = null

  constructor(template: Client, ended: (error: Error) => void) {
    this.#client = template.duplicate(OURS)
    guardSockets(this.#client)
    this.#client.on('error', (error: Error) => ended(error))
    this.#client.on('close', () => ended(new Error('Redis closed the connection')))
    this.#client.on('messageBuffer', (channel: Buffer, payload: Buffer) =>
      this.#hear?.(payload, channel),
    )
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  publish(channels: readonly string[], payload: Buffer): Promise<unknown> {
    const publish = (channel: string) => this.#send(['publish', channel, payload])
    return channels.length === 1
      ? publish(channels[0] as string)
      : Promise.all(channels.map(publish))
  }

  async subscribe(channels: readonly string[], hear: Hear): Promise<unknown> {
    this.#hear = hear
    return this.#client.subscribe(...channels)
  }

  unsubscribe(channels: readonly string[]): Promise<unknown> {
    return this.#client.unsubscribe(...channels)
  }

  command(command: string, ...words: string[]): Promise<unknown> {
    return this.#client.call(command, ...words)
  }

  run(words: readonly Word[]): Promise<unknown> {
    return this.#send(['callBuffer', ...words])
  }

  destroy(): void {
    this.#hear = null
    this.#client.disconnect()
  }

  /** Collects the commands of a turn in one pipeline: ioredis writes other commands one by one. */
  #send(command: Pending['command']): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#pending.push({ command, resolve, reject }) === 1) {
        queueMicrotask(() => this.#flush())
      }
    })
  }

  #flush(): void {
    const all = this.#pending
    this.#pending = []
    const [{ command, resolve, reject }] = all as [Pending]
    if (all.length === 1) {
      const [name, ...words] = command
      const sent =
        name === 'publish'
          ? this.#client.publish(...(words as [string, Buffer]))
          : this.#client.callBuffer(...words)
      sent.then(resolve, reject)
      return
    }
    this.#client
      .pipeline(all.map((one) => one.command))
      .exec()
      .then((results) => {
        for (const [i, { resolve, reject }] of all.entries()) {
          const [error, result] = results?.[i] ?? [new Error('Redis did not answer'), null]
          if (error) reject(error)
          else resolve(result)
        }
      })
      .catch((error: Error) => {
        for (const { reject } of all) reject(error)
      })
  }
}

/**
 * Listens to all errors of each socket that a client opens. ioredis listens to the first error
 * only. A TLS socket may emit a second error, such as an alert for an abandoned handshake, and an
 * error without a listener ends the process.
 */
function guardSockets(client: Client): void {
  let socket = client.stream
  Object.defineProperty(client, 'stream', {
    configurable: true,
    enumerable: true,
    get: () => socket,
    set(next: Client['stream']) {
      socket = next
      socket?.on('error', ignore)
    },
  })
}

function ignore(): void {}
