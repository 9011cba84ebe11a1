// Connections of node-redis, and the choice of a node in a cluster.
import { AdapterError } from '../../errors.ts'
import {
  CONNECT_TIMEOUT,
  type Hear,
  type Masters,
  type RedisConnection,
  type RedisDialect,
  SLOTS,
  type Word,
} from './connection.ts'

/** The part of a node-redis client that koaws uses. */
interface Client {
  readonly options?: { readonly socket?: object; readonly commandOptions?: object } | undefined
  duplicate(overrides: object): Client
  connect(): Promise<unknown>
  destroy(): unknown
  sendCommand(words: readonly Word[], options?: object): Promise<unknown>
  publish(channel: string, payload: Buffer): Promise<unknown>
  subscribe(
    channels: readonly string[],
    listener: (payload: Buffer, channel: Buffer) => void,
    bufferMode: true,
  ): Promise<unknown>
  unsubscribe(channels: readonly string[]): Promise<unknown>
  on(event: string, listener: (error?: Error) => void): unknown
}

/** The part of a node-redis cluster client that koaws uses. */
interface Cluster {
  readonly _options?: { readonly defaults?: { readonly socket?: object } } | undefined
  readonly masters: readonly object[]
  readonly slots: readonly ({ readonly master: object } | undefined)[]
  duplicate(overrides: object): Cluster
  connect(): Promise<unknown>
  destroy(): unknown
  nodeClient(node: object): Client | Promise<Client>
  on(event: string, listener: (error?: Error) => void): unknown
}

/** Options that turn off the retries of node-redis: the link has its own. */
const OURS = {
  reconnectStrategy: false,
  connectTimeout: CONNECT_TIMEOUT,
  socketTimeout: undefined,
}

/** Strings of an answer as Buffers: 36 is the first byte of such a string, `$`. */
const AS_BUFFERS = { typeMapping: { 36: Buffer } }

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
    pair: (ended) =>
      connected(template, async (cluster) => {
        const { masters } = cluster
        const node = masters[Math.floor(Math.random() * masters.length)]
        if (!node) throw new AdapterError('ERR_KOAWS_BACKPLANE', 'the Redis Cluster has no master')
        const client = await cluster.nodeClient(node)
        return nodeRedis(client).pair(ended)
      }),
    masters: (ended) => connected(template, (cluster) => mastersOf(cluster, ended)),
  }
}

/** Connects a client to a cluster, and destroys it after use. */
async function connected<T>(template: Cluster, use: (cluster: Cluster) => Promise<T>): Promise<T> {
  const defaults = template._options?.defaults
  const cluster = template.duplicate({
    minimizeConnections: true,
    // Without a timeout, an unreachable node that is asked for the topology would block
    // forever.
    defaults: {
      ...defaults,
      socket: { ...defaults?.socket, ...OURS, socketTimeout: CONNECT_TIMEOUT },
    },
  })
  cluster.on('error', ignore)
  try {
    await cluster.connect()
    return await use(cluster)
  } finally {
    quietly(() => cluster.destroy())
  }
}

async function mastersOf(cluster: Cluster, ended: (error: Error) => void): Promise<Masters> {
  const nodes = [...cluster.masters]
  const clients = await Promise.all(nodes.map((node) => cluster.nodeClient(node)))
  const connections = clients.map((client) => new NodeRedisConnection(client, ended))
  const slots = Array.from({ length: SLOTS }, (_, slot) => {
    const master = cluster.slots[slot]?.master
    return master && connections[nodes.indexOf(master)]
  })
  return { connections: new Set(connections), of: (slot) => slots[slot] }
}

class NodeRedisConnection implements RedisConnection {
  readonly #client: Client
  /** Whether the socket is connecting: node-redis cannot destroy it yet. */
  #isConnecting = false
  #destroyed = false

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
    this.#client.on('connect', () => this.#connected())
  }

  async connect(): Promise<void> {
    this.#isConnecting = true
    try {
      await this.#client.connect()
    } finally {
      this.#connected()
    }
  }

  publish(channels: readonly string[], payload: Buffer): Promise<unknown> {
    if (channels.length === 1) return this.#client.publish(channels[0] as string, payload)
    return Promise.all(channels.map((channel) => this.#client.publish(channel, payload)))
  }

  subscribe(channels: readonly string[], hear: Hear): Promise<unknown> {
    return this.#client.subscribe(channels, hear, true)
  }

  unsubscribe(channels: readonly string[]): Promise<unknown> {
    return this.#client.unsubscribe(channels)
  }

  command(...words: string[]): Promise<unknown> {
    return this.#client.sendCommand(words)
  }

  run(words: readonly Word[]): Promise<unknown> {
    return this.#client.sendCommand(words, AS_BUFFERS)
  }

  destroy(): void {
    this.#destroyed = true
    // A client that is destroyed while its socket connects continues with its handshake, and would
    // wait for a hanging server. It connects or fails within CONNECT_TIMEOUT; `#connected()`
    // destroys it then.
    if (!this.#isConnecting) quietly(() => this.#client.destroy())
  }

  #connected(): void {
    this.#isConnecting = false
    if (this.#destroyed) this.destroy()
  }
}

/** Calls a function and ignores its error: destroying a client that was never open throws. */
function quietly(act: () => unknown): void {
  try {
    act()
  } catch {}
}

function ignore(): void {}
