import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import { adapterSuite } from '../../../lib/testing/index.ts'
import { needs } from '../../support/programs.ts'
import {
  type RedisProxy,
  startProxy,
  startRedis,
  stopRedis,
  type TestRedis,
} from '../../support/redis.ts'
import { libraries } from './clients.ts'

for (const library of libraries) {
  describe(`redisAdapter() with ${library.name}`, () => {
    needs('redis-server')
    let redis: TestRedis
    let tests = 0

    before(async () => {
      redis = await startRedis()
    })
    after(stopRedis)

    const suite = adapterSuite(async () => {
      const prefix = `test${tests++}:`
      const proxy: RedisProxy = await startProxy(redis.port)
      const stranger = await library.connected(redis.port)
      return {
        adapter: () => redisAdapter({ client: library.client(proxy.port), prefix, heartbeat: 200 }),
        cut: async () => proxy.cut(),
        heal: async () => proxy.heal(),
        inject: async (topic, payload) =>
          void (await stranger.client.publish(prefix + topic, payload)),
        close: async () => {
          proxy.cut()
          stranger.end()
        },
      }
    })
    for (const { name, run } of suite) it(name, run).timeout(20_000)
  })
}
