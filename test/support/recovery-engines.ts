import { subscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { memoryHistory } from '../../lib/adapters/memory-history.ts'
import { redisAdapter } from '../../lib/adapters/redis/index.ts'
import { type Adapter, memoryAdapter } from '../../lib/index.ts'
import type { RecoveryEngine } from './recovery-client.ts'
import { type RedisProxy, startProxy, type TestRedis } from './redis.ts'
import { RemoteEngine } from './remote-history.ts'

/** The engine within the process. It has no faults. */
export function memoryEngine(): RecoveryEngine {
  const history = memoryHistory()
  return {
    adapter: async () => ({ ...memoryAdapter(), history }),
    knows: () => undefined,
    lost: () => false,
    harm: () => {},
    heal: () => {},
  }
}

/** An engine that takes its time, is cut from hubs, and forgets. */
export function remoteEngine(delay: () => number, forgets: boolean): RecoveryEngine {
  const engine = new RemoteEngine(delay)
  return {
    adapter: async () => ({ ...memoryAdapter(), history: engine.open }),
    knows: (log, { epoch, offset, key }) =>
      engine.known.get(`${log} ${epoch} ${offset}`)?.has(key) ?? false,
    lost: (log, { key }) => engine.lost.has(`${log} ${key}`),
    harm(below, hubs, logs) {
      const store = engine.stores.get(hubs[below(hubs.length)] as string)
      const log = logs[below(logs.length)] as string
      const dice = below(10)
      if (dice < 4) store?.cut()
      else if (dice < 8) store?.heal()
      else if (!forgets) return
      else if (dice === 8) engine.loseTail(log, 1 + below(4))
      else if (below(3) === 0) engine.lose(log)
    },
    heal() {
      for (const store of engine.stores.values()) {
        store.cut() // so that each looks at its logs, as after a failover
        store.heal()
      }
    },
  }
}

let runs = 0

/**
 * Redis through one proxy for each instance, which is cut and slow at times.
 *
 * @param forgets whether logs are lost: one as by an eviction, all as by a flush, or what is newer than a copy, as in
 * a failover to a replica that is behind
 */
export function redisEngine(redis: TestRedis, forgets: boolean): RecoveryEngine {
  const prefix = `model${runs++}:`
  const proxies = new Map<Adapter, RedisProxy>()
  const made: RedisProxy[] = []
  const damaged = new Set<string>()
  let isCopied = false
  const script = (text: string, logs: readonly string[]): void => {
    const keys = logs.flatMap((log) => [`${prefix}log:{${log}}:meta`, `${prefix}log:{${log}}:list`])
    redis.command('EVAL', text, String(keys.length), ...keys).catch(() => {})
  }
  const lose = (text: string, logs: readonly string[]): void => {
    for (const log of logs) damaged.add(log)
    script(text, logs)
  }
  return {
    async adapter() {
      const proxy = await startProxy(redis.port)
      made.push(proxy)
      const client = new Redis({ host: '127.0.0.1', port: proxy.port, lazyConnect: true })
      const adapter = redisAdapter({ client, prefix, heartbeat: 200 })
      proxies.set(adapter, proxy)
      return adapter
    },
    knows: () => undefined,
    lost: (log) => damaged.has(log),
    pace: 30, // a hub comes back after 50 ms at the earliest
    harm(below, _hubs, logs) {
      const all = [...proxies.values()]
      const proxy = all[below(all.length)] as RedisProxy
      const dice = below(10)
      if (dice < 4) {
        proxy.cut()
        setTimeout(() => proxy.heal(), below(dice === 0 ? 400 : 60))
      } else if (dice < 7) proxy.lag(below(4))
      else if (!forgets) return
      else if (dice === 7) {
        script(COPY, logs)
        isCopied = true
      } else if (dice === 8 && isCopied) lose(BACK, logs)
      else if (below(3) === 0) lose(DELETE, logs)
      else lose(DELETE, [logs[below(logs.length)] as string])
    },
    kill(adapter) {
      proxies.get(adapter)?.cut()
      proxies.delete(adapter)
    },
    heal() {
      for (const proxy of proxies.values()) {
        proxy.lag(0)
        proxy.heal()
      }
    },
    close() {
      for (const proxy of made) proxy.close()
    },
  }
}

/** Deletes keys. */
const DELETE = "for _, key in ipairs(KEYS) do redis.call('DEL', key) end return 1"
/** Copies keys, as a replica does. */
const COPY = `for _, key in ipairs(KEYS) do
  redis.call('DEL', key .. ':copy')
  redis.call('COPY', key, key .. ':copy')
end return 1`
/** Puts the copies in the place of their keys. */
const BACK = `for _, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('COPY', key .. ':copy', key)
end return 1`

/** The streams of all meshes in this process. */
const streams = new Set<Socket>()
for (const hook of ['net.client.socket', 'net.server.socket']) {
  subscribe(hook, (message) => {
    const { socket } = message as { socket: Socket }
    if (socket.remoteAddress !== undefined) return
    streams.add(socket)
    socket.once('close', () => streams.delete(socket))
  })
}

/** The mesh of processes, here between hubs of one process: streams break off at times. */
export function clusterEngine(): RecoveryEngine {
  const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  return {
    adapter: async () => clusterAdapter({ name: 'model', folder, heartbeat: 200 }),
    knows: () => undefined,
    lost: () => false,
    pace: 30,
    harm(below) {
      if (below(3) === 0) [...streams][below(Math.max(1, streams.size))]?.destroy()
    },
    heal() {},
    close() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
