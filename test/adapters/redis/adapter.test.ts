import { createRequire } from 'node:module'
import { expect } from 'chai'
import { Cluster, Redis } from 'ioredis'
import { createClient, createClientPool, createCluster } from 'redis'
import { redisAdapter, redisEmitter } from '../../../lib/adapters/redis/index.ts'
import type * as Ioredis5 from '../../peers/node_modules/ioredis5/built/index.d.ts'
import type * as Redis5 from '../../peers/node_modules/redis5/dist/index.d.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))
const redis5 = peers('redis5') as typeof Redis5
const ioredis5 = peers('ioredis5') as typeof Ioredis5
const rootNodes = [{ url: 'redis://127.0.0.1:1' }]
const nodes = [{ host: '127.0.0.1', port: 1 }]
const lazyConnect = true

// The compiler is the test: every client fits without a cast.
describe('the types of koaws/redis', () => {
  it('accept the clients of both versions of node-redis', () => {
    const adapters = [
      redisAdapter({ client: createClient() }),
      redisAdapter({ client: createClient({ RESP: 2 }), prefix: 'app:', heartbeat: 1_000 }),
      redisAdapter({ client: createCluster({ rootNodes }) }),
      redisAdapter({ client: redis5.createClient(), maxQueued: { messages: 1, bytes: 1_024 } }),
      redisAdapter({ client: redis5.createCluster({ rootNodes }) }),
    ]
    const emitters = [
      redisEmitter({ client: createClient() }),
      redisEmitter({ client: createCluster({ rootNodes }), prefix: 'app:' }),
      redisEmitter({ client: createClientPool() }),
      redisEmitter({ client: redis5.createClient() }),
      redisEmitter({ client: redis5.createCluster({ rootNodes }) }),
    ]
    for (const { connect } of adapters) expect(connect).to.be.a('function')
    for (const { all } of emitters) expect(all).to.be.a('function')
  })

  it('accept the clients of both versions of ioredis', () => {
    const clients = [new Redis({ lazyConnect }), new ioredis5.Redis({ lazyConnect })] as const
    const clusters = [
      new Cluster(nodes, { lazyConnect }),
      new ioredis5.Cluster(nodes, { lazyConnect }),
    ] as const
    const adapters = [
      redisAdapter({ client: clients[0] }),
      redisAdapter({ client: clients[1] }),
      redisAdapter({ client: clusters[0] }),
      redisAdapter({ client: clusters[1] }),
    ]
    const emitters = [
      redisEmitter({ client: clients[0] }),
      redisEmitter({ client: clients[1] }),
      redisEmitter({ client: clusters[0] }),
      redisEmitter({ client: clusters[1] }),
    ]
    for (const { connect } of adapters) expect(connect).to.be.a('function')
    for (const { all } of emitters) expect(all).to.be.a('function')
  })

  it('reject other values', () => {
    // @ts-expect-error: no client
    expect(() => redisAdapter({})).to.throw()
    // @ts-expect-error: an address instead of a client
    expect(() => redisAdapter({ client: 'redis://127.0.0.1' })).to.throw()
    // @ts-expect-error: cannot publish
    expect(() => redisEmitter({ client: {} })).to.throw()
  })
})
