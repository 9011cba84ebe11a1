import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { redisAdapter } from '../../lib/adapters/redis/index.ts'
import type { ModelEngine } from './backplane-model.ts'
import { breakableAdapter } from './breakable-adapter.ts'
import { type RedisProxy, startProxy, startRedis, stopRedis } from './redis.ts'

/** An engine of a model, with the function that ends it. */
export interface OpenEngine {
  readonly engine: ModelEngine
  close(): Promise<void>
}

export const ENGINES = ['memory', 'cluster', 'redis'] as const

export type EngineName = (typeof ENGINES)[number]

export function openEngine(name: EngineName): Promise<OpenEngine> {
  return { memory: openMemory, cluster: openCluster, redis: openRedis }[name]()
}

/** The breakable adapter. It can lose acknowledgements, and be deaf in one direction. */
async function openMemory(): Promise<OpenEngine> {
  const adapter = breakableAdapter({ heartbeat: 60, maxQueued: { messages: 2_000 } })
  const blocked = new Map<string, [string, string][]>()
  const block = (id: string, from: string, to: string): void => {
    adapter.block(from, to)
    blocked.set(id, [...(blocked.get(id) ?? []), [from, to]])
  }
  return {
    engine: {
      name: 'memory',
      adapter: () => adapter,
      faults: {
        cut: (id) => adapter.cut(id),
        blip(id) {
          adapter.cut(id)
          adapter.heal(id)
        },
        'acknowledgements lost': (id) => adapter.loseAcknowledgements(id),
        'not heard by one': (id, [other]) => other && block(id, id, other),
        'payloads lost': () => adapter.drop(3, 'room:'),
        slow: (id) => adapter.lag(id, 20),
      },
      kill: (id) => adapter.kill(id),
      heal(id) {
        for (const [from, to] of blocked.get(id) ?? []) adapter.unblock(from, to)
        blocked.delete(id)
        adapter.drop(0)
        adapter.lag(id, 0)
        adapter.acknowledge(id)
        adapter.heal(id)
      },
      harmless: {
        'alone away': (id) => adapter.cut(id),
        'alone without acknowledgements': (id) => adapter.loseAcknowledgements(id),
      },
      blind: 1_000,
      quiet: 500,
    },
    close: async () => {},
  }
}

/**
 * The mesh of node:cluster, here between hubs of one process: streams break off or are not read.
 */
async function openCluster(): Promise<OpenEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  /** Both sides of each stream. */
  const sockets = new Set<Socket>()
  const paused = new Map<string, Set<Socket>>()
  const made = (message: unknown): void => {
    const { socket } = message as { socket: Socket }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  const hooks = ['net.client.socket', 'net.server.socket']
  for (const hook of hooks) subscribe(hook, made)
  let turn = 0
  const any = (): Socket | undefined => [...sockets][turn++ % Math.max(1, sockets.size)]
  return {
    engine: {
      name: 'cluster',
      adapter: () =>
        clusterAdapter({
          name: 'model',
          folder,
          heartbeat: 200,
          maxQueued: { bytes: 1024 * 1024 },
        }),
      faults: {
        'a stream breaks off': () => any()?.destroy(),
        'a stream is not read'(id) {
          const socket = any()
          if (socket) paused.set(id, (paused.get(id) ?? new Set()).add(socket.pause()))
        },
      },
      heal(id) {
        for (const socket of paused.get(id) ?? []) socket.resume()
        paused.delete(id)
      },
      harmless: {},
      blind: 0,
      quiet: 1_500,
    },
    async close() {
      for (const hook of hooks) unsubscribe(hook, made)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Redis, through one proxy for each instance. */
async function openRedis(): Promise<OpenEngine> {
  const redis = await startRedis()
  const proxies = new Map<string, RedisProxy>()
  // Two of these commands at a time end the connections of each other.
  const kill = (type: string): void =>
    void redis.command('CLIENT', 'KILL', 'TYPE', type).catch(() => {})
  return {
    engine: {
      name: 'redis',
      async adapter(id) {
        const proxy = await startProxy(redis.port)
        proxies.set(id, proxy)
        const client = new Redis({ host: '127.0.0.1', port: proxy.port, lazyConnect: true })
        return redisAdapter({ client, prefix: 'model:', heartbeat: 200 })
      },
      faults: {
        cut: (id) => proxies.get(id)?.cut(),
        blip(id) {
          proxies.get(id)?.cut()
          proxies.get(id)?.heal()
        },
        slow: (id) => proxies.get(id)?.lag(15),
        'subscriptions killed': () => kill('pubsub'),
        'publishers killed': () => kill('normal'),
      },
      kill: (id) => proxies.get(id)?.cut(),
      heal(id) {
        proxies.get(id)?.lag(0)
        proxies.get(id)?.heal()
      },
      harmless: { 'alone away': (id) => proxies.get(id)?.cut() },
      blind: 0,
      quiet: 1_500,
    },
    close: async () => void (await stopRedis()),
  }
}
