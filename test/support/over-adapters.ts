import { Redis } from 'ioredis'
import { redisAdapter } from '../../lib/adapters/redis/index.ts'
import { type Adapter, memoryAdapter } from '../../lib/index.ts'
import { needs } from './programs.ts'
import { startRedis, stopRedis, type TestRedis } from './redis.ts'

/**
 * Describes a suite of tests with several hubs, over memory and over Redis.
 *
 * @param suite called with a function that begins one test, and returns a function that makes the adapter of a hub
 */
export function overAdapters(
  suite: (begin: () => () => Adapter) => void,
  wrap: (adapter: Adapter) => Adapter = (adapter) => adapter,
): void {
  describe('between hubs of memoryAdapter()', () => {
    suite(() => {
      const adapter = wrap(memoryAdapter())
      return () => adapter
    })
  })

  describe('between hubs of redisAdapter()', () => {
    needs('redis-server')
    let redis: TestRedis
    let tests = 0
    before(async () => {
      redis = await startRedis()
    })
    after(stopRedis)
    suite(() => {
      const prefix = `test${tests++}:`
      return () => {
        const client = new Redis({ host: '127.0.0.1', port: redis.port, lazyConnect: true })
        return wrap(redisAdapter({ client, prefix }))
      }
    })
  })
}
