import { setTimeout as pause } from 'node:timers/promises'
import type { RedisProxy, TestRedis } from '../../support/redis.ts'
import type { RedisNode } from './redis-nodes.ts'
import type { Namespace } from './redis-partition.ts'

/** The parts that a fault may break. */
export interface Site {
  readonly redis: TestRedis
  /** A replica of `redis`, if the fault has one. */
  readonly replica: TestRedis | null
  readonly proxy: RedisProxy
  readonly namespace: Namespace | null
  readonly nodes: RedisNode[]
  /** Restarts an instance on its old port. */
  restart(index: number): Promise<void>
}

export interface Fault {
  readonly instances: number
  readonly through?: 'proxy' | 'namespace'
  /** Lines of the configuration of Redis. */
  readonly lines?: readonly string[]
  readonly hasReplica?: boolean
  /** Resolves when the fault is over. */
  run(site: Site): Promise<void>
}

/** A fault of rooms with history. */
export interface RecoveryFault extends Fault {
  /** Redis loses what it has acknowledged. */
  readonly loses?: boolean
  /** The bound of the queue of an instance in messages, which the outage exceeds. Only koaws has one. */
  readonly maxQueued?: number
}

/** The faults of a run. @param quick whether they are short */
export function faults(quick: boolean): Record<string, Fault> {
  const seconds = (many: number): number => (quick ? Math.min(many, 1 + many / 10) : many) * 1_000
  const killed = (down: number): Fault => ({
    instances: 2,
    async run({ redis }) {
      await redis.kill()
      await pause(seconds(down))
      await redis.start()
    },
  })
  const partition = (lasts: number): Fault => ({
    instances: 2,
    through: 'namespace',
    async run({ redis, namespace }) {
      namespace?.cut(redis.port)
      await pause(seconds(lasts))
      namespace?.heal(redis.port)
    },
  })
  return {
    none: { instances: 2, run: () => pause(1_000) },
    'kill-3s': killed(3),
    'kill-30s': killed(30),
    'stop-3s': {
      instances: 2,
      async run({ redis }) {
        redis.stop()
        await pause(seconds(3))
        redis.go()
      },
    },
    blips: {
      instances: 2,
      through: 'proxy',
      async run({ proxy }) {
        for (let i = 0; i < (quick ? 10 : 100); i++) {
          if (i > 0) await pause(450)
          proxy.cut()
          await pause(50)
          proxy.heal()
        }
      },
    },
    'partition-10s': partition(10),
    'partition-60s': partition(60),
    crash: {
      instances: 4,
      async run({ nodes, restart }) {
        await nodes[2]?.kill()
        await pause(1_000)
        await restart(2)
      },
    },
  }
}

/** Each write is on the disk before Redis answers: what was acknowledged outlives the process. */
const KEEPS = ['appendonly yes', 'appendfsync always']

/** The faults of rooms with history. @param quick whether they are short */
export function recoveryFaults(quick: boolean): Record<string, RecoveryFault> {
  const { 'kill-3s': short, 'kill-30s': long, ...others } = faults(quick)
  const kill = short as Fault
  return {
    ...others,
    'kill-3s': { ...kill, lines: KEEPS },
    'kill-30s': { ...(long as Fault), lines: KEEPS },
    'kill-3s-empty': { ...kill, loses: true },
    'full-queue': { ...kill, lines: KEEPS, maxQueued: quick ? 50 : 200 },
    failover: failover(async ({ redis, replica }) => {
      await redis.command('failover')
      await isPrimary(replica)
      await pause(500) // the demoted primary is still there
    }),
    'failover-kill': { ...failover(async () => {}), loses: true },
    'failover-tail': {
      ...failover(async ({ replica }) => {
        await replica.command('replicaof', 'no', 'one')
        await pause(500)
      }),
      loses: true,
    },
  }
}

/**
 * The primary is killed, and the proxy points to the replica a second later.
 *
 * @param before the steps before the kill
 */
function failover(
  before: (site: { redis: TestRedis; replica: TestRedis }) => Promise<void>,
): RecoveryFault {
  return {
    instances: 2,
    through: 'proxy',
    hasReplica: true,
    lines: ['repl-diskless-sync-delay 0'],
    async run({ redis, replica, proxy }) {
      if (!replica) throw new Error('a failover needs a replica')
      await before({ redis, replica })
      await redis.kill()
      await replica.command('replicaof', 'no', 'one')
      await isPrimary(replica)
      await pause(1_000)
      proxy.heal(replica.port)
    },
  }
}

async function isPrimary(redis: TestRedis): Promise<void> {
  await infoHas(redis, 'role:master')
}

/** Resolves when the part `replication` of INFO has a text. */
export async function infoHas(redis: TestRedis, text: string): Promise<void> {
  const end = Date.now() + 15_000
  while (!(await redis.command('info', 'replication')).includes(text)) {
    if (Date.now() > end) throw new Error(`Redis does not say ${text}`)
    await pause(10)
  }
}
