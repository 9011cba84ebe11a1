import { type RedisProxy, startProxy, startRedis, stopRedis } from '../../support/redis.ts'
import type { Contestant, RecoverySettings } from './redis-contestants.ts'
import { type Fault, infoHas, type Site } from './redis-fault-table.ts'
import { killNodes, RedisNode } from './redis-nodes.ts'
import { endNamespaces, Namespace } from './redis-partition.ts'

/** The instances of one run, with Redis and the proxy or the network between them. */
export interface OpenSite extends Site {
  end(): Promise<void>
}

/** Starts Redis and the instances of a fault. @param recovery of rooms with history */
export async function openSite(
  contestant: Contestant,
  fault: Fault,
  recovery?: RecoverySettings,
): Promise<OpenSite> {
  const namespace = fault.through === 'namespace' ? new Namespace() : null
  const own = namespace ? [`bind 127.0.0.1 ${namespace.here}`, 'protected-mode no'] : []
  const nodes: RedisNode[] = []
  const end = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.kill()))
    await stopRedis()
    namespace?.end()
  }
  try {
    const redis = await startRedis([...own, ...(fault.lines ?? [])])
    const proxy: RedisProxy = await startProxy(redis.port)
    const replica = fault.hasReplica
      ? await startRedis([`replicaof 127.0.0.1 ${redis.port}`])
      : null
    if (replica) await infoHas(replica, 'master_link_status:up')
    const start = (index: number, port = 0): Promise<RedisNode> => {
      const isCut = namespace !== null && index === 1
      const address = {
        host: isCut ? namespace.here : '127.0.0.1',
        port: fault.through === 'proxy' ? proxy.port : redis.port,
      }
      const host = isCut ? namespace.there : '127.0.0.1'
      return RedisNode.start(
        { contestant, redis: address, host, port, recovery },
        isCut ? namespace.words : [],
      )
    }
    for (let i = 0; i < fault.instances; i++) nodes.push(await start(i))
    const restart = async (index: number): Promise<void> => {
      nodes[index] = await start(index, nodes[index]?.port)
    }
    return { redis, replica, proxy, namespace, nodes, restart, end }
  } catch (error) {
    await end()
    throw error
  }
}

/** Ends the processes that must not outlive this one. */
export function endAll(): void {
  killNodes()
  void stopRedis()
  endNamespaces()
}
