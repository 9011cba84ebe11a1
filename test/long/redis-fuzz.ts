/**
 * Sends payloads that koaws has not written to its channels in Redis.
 *
 *     npx tsx test/long/redis-fuzz.ts [payloads=100000] [seed]
 *
 * The JSON of the result goes to stdout, all else to stderr. Exits with 1 when a check fails. See
 * README.md.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { createClient, RESP_TYPES } from 'redis'
import { startRedis, stopRedis, type TestRedis } from '../support/redis.ts'
import { runFuzz } from './support/fuzz.ts'
import { account } from './support/redis-account.ts'
import { Receiver } from './support/redis-clients.ts'
import { ROOM } from './support/redis-contestants.ts'
import { GarbageMaker } from './support/redis-garbage.ts'
import type { NodeReport } from './support/redis-node.ts'
import { killNodes, RedisNode } from './support/redis-nodes.ts'
import { keepResult } from './support/results.ts'

const FULL = 100_000
const PREFIX = 'koaws:'
const CLIENTS = 4
/** Messages per second from the other instance to the bystanders. */
const RATE = 100
/** The number of payloads that are under way at a time. */
const BATCH = 100
/**
 * The share of payloads that are sent in the end with a valid checksum, which koaws cannot detect.
 */
const SIGNED = 0.1
/** The bytes before the data that the checksum covers, and the positions of checksum and kind. */
const HEAD = 8
const CHECKSUM_AT = 4
const KIND_AT = 3
/** How long sent payloads may take to be counted, in milliseconds. */
const PATIENCE = 20_000
/** The limit of one turn of the event loop under attack, in milliseconds. */
const MOST_TURN = 1_000

const log = (text: string): void => void process.stderr.write(`${text}\n`)

type Client = Awaited<ReturnType<typeof connectTo>>

async function connectTo({ port }: TestRedis) {
  const client = createClient({ socket: { host: '127.0.0.1', port } })
  client.on('error', () => {})
  await client.connect()
  return client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
}

/** Collects all payloads between instances for this time. */
async function capture(redis: TestRedis, ms: number): Promise<Buffer[]> {
  const client = createClient({ socket: { host: '127.0.0.1', port: redis.port } })
  client.on('error', () => {})
  await client.connect()
  const real: Buffer[] = []
  await client.pSubscribe(`${PREFIX}*`, (payload) => void real.push(payload), true)
  await pause(ms)
  client.destroy()
  return real
}

interface Attacked {
  /** The number of payloads, by channel. */
  readonly sent: Record<string, number>
  readonly kinds: Record<string, number>
  /** The number of deliveries by Redis to instances. */
  received: number
}

async function attack(
  client: Client,
  maker: GarbageMaker,
  channels: string[],
  many: number,
): Promise<Attacked> {
  const result: Attacked = { sent: {}, kinds: {}, received: 0 }
  for (let sent = 0; sent < many; ) {
    const answers: Promise<unknown>[] = []
    let bytes = 0
    for (; answers.length < BATCH && sent < many && bytes < 1 << 20; sent++) {
      const { kind, payload } = maker.next()
      const channel = channels[sent % channels.length] as string
      result.sent[channel] = (result.sent[channel] ?? 0) + 1
      result.kinds[kind] = (result.kinds[kind] ?? 0) + 1
      bytes += payload.length
      answers.push(client.publish(PREFIX + channel, payload))
    }
    for (const count of await Promise.all(answers)) result.received += Number(count)
    await pause(2)
    if (sent % 10_000 === 0) log(`  ${sent} sent`)
  }
  return result
}

/** Publishes changed payloads with a valid checksum. */
async function attackSigned(
  client: Client,
  maker: GarbageMaker,
  channels: string[],
  many: number,
): Promise<void> {
  for (let sent = 0; sent < many; ) {
    const answers: Promise<unknown>[] = []
    for (; answers.length < BATCH && sent < many; sent++) {
      const payload = maker.mutated(HEAD)
      payload.writeUInt32BE(crc32(payload.subarray(HEAD), payload[KIND_AT] as number), CHECKSUM_AT)
      answers.push(client.publish(PREFIX + (channels[sent % channels.length] as string), payload))
    }
    await Promise.all(answers)
    await pause(2)
  }
}

const foreignIn = ({ status }: NodeReport): number => status?.drops['foreign'] ?? 0

async function run(many: number, seed: number): Promise<boolean> {
  log(`seed ${seed}, ${many} payloads`)
  const redis = await startRedis()
  const start = (): Promise<RedisNode> =>
    RedisNode.start({
      contestant: 'koaws',
      redis: { host: '127.0.0.1', port: redis.port },
      host: '127.0.0.1',
      port: 0,
    })
  const [victim, other] = await Promise.all([start(), start()])
  const open = ({ port }: RedisNode, node: number): Receiver[] =>
    Array.from({ length: CLIENTS }, () => Receiver.open('koaws', node, `ws://127.0.0.1:${port}/`))
  const receivers = [...open(victim, 0), ...open(other, 1)]
  await Promise.all(receivers.map(({ joined }) => joined))
  await victim.publish(0, RATE)
  await other.publish(1, RATE)
  const real = await capture(redis, 6_000)
  const ids = [victim, other].map(async (node) => (await node.report()).status?.id ?? '')
  const [victimId = '', otherId = ''] = await Promise.all(ids)
  const wrong: string[] = []
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(what)
  }
  must(real.length > RATE, `only ${real.length} payloads were captured`)
  must(victimId !== '' && otherId !== '', 'an instance has no name')

  const client = await connectTo(redis)
  const maker = new GarbageMaker(seed, real)
  const channels = [
    'all',
    `room:${ROOM}`,
    `instance:${victimId}`,
    'all',
    `room:${ROOM}`,
    'room:nobody',
  ]
  const began = Date.now()
  const attacked = await attack(client, maker, channels, many)
  const took = Date.now() - began

  const toBoth = (attacked.sent['all'] ?? 0) + (attacked.sent[`room:${ROOM}`] ?? 0)
  const expected = [toBoth + (attacked.sent[`instance:${victimId}`] ?? 0), toBoth]
  let reports = await Promise.all([victim.report(), other.report()])
  for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
    if (reports.every((report, i) => foreignIn(report) >= (expected[i] as number))) break
    await pause(200)
    reports = await Promise.all([victim.report(), other.report()])
  }
  await Promise.all([victim.stopPublishing(), other.stopPublishing()])
  await pause(3_000)
  reports = await Promise.all([victim.report(), other.report()])
  const figures = account({ receivers, publishers: reports, others: [], from: began, back: began })
  const counted = reports.map(foreignIn)
  must(
    attacked.received === (expected[0] as number) + (expected[1] as number),
    'Redis gave it to others',
  )
  reports.forEach((report, i) => {
    must(counted[i] === expected[i], `instance ${i} counted ${counted[i]} of ${expected[i]}`)
    must(report.uncaught.length === 0, `instance ${i}: ${report.uncaught[0]}`)
    must(
      report.status?.backplane.state === 'ready',
      `instance ${i} is ${report.status?.backplane.state}`,
    )
  })
  const strays = receivers.flatMap((receiver) => receiver.strays)
  must(strays.length === 0, `clients got ${strays.length} strays: ${strays[0]}`)
  must(figures.counted.resyncs === 0, `${figures.counted.resyncs} clients were told of a loss`)
  must(figures.expected > 0 && figures.lost === 0, `${figures.lost} of ${figures.expected} lost`)
  must(figures.duplicated + figures.outOfOrder === 0, 'something came twice or out of order')
  must(
    receivers.every(({ away }) => away.length === 0),
    'a client lost its connection',
  )
  must(figures.longestTurn <= MOST_TURN, `a turn took ${figures.longestTurn} ms`)

  const signed = Math.round(many * SIGNED)
  await attackSigned(client, maker, channels, signed)
  wrong.push(...(await survived([victim, other], start)))
  client.destroy()
  for (const receiver of receivers) receiver.close()

  const result = {
    ok: wrong.length === 0,
    wrong,
    seed,
    payloads: many,
    seconds: Math.round(took / 1000),
    captured: real.length,
    kinds: attacked.kinds,
    sent: attacked.sent,
    foreign: Object.fromEntries(
      counted.map((many, i) => [`instance ${i}`, { expected: expected[i], counted: many }]),
    ),
    bystanders: { expected: figures.expected, delivered: figures.delivered, lost: figures.lost },
    'longest turn of the loop, ms': figures.longestTurn,
    signed,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  if (result.ok && many >= FULL) keepResult('redis-fuzz', result)
  for (const line of wrong) log(line)
  return result.ok
}

/** Checks that messages of a new instance still reach new clients of the old instances. */
async function survived(nodes: RedisNode[], start: () => Promise<RedisNode>): Promise<string[]> {
  const fresh = await start()
  const receivers = nodes.map(({ port }, i) => Receiver.open('koaws', i, `ws://127.0.0.1:${port}/`))
  const wrong: string[] = []
  try {
    const late = pause(10_000).then(() => Promise.reject(new Error('an instance takes nobody')))
    await Promise.race([Promise.all(receivers.map(({ joined }) => joined)), late])
    await pause(500)
    await fresh.publish(0, RATE)
    await pause(2_000)
    await fresh.stopPublishing()
    await pause(1_000)
    const published = (await fresh.report()).at.length
    for (const { got, node } of receivers) {
      const many = got[0]?.at.filter((at) => at !== undefined).length ?? 0
      if (many !== published) wrong.push(`afterwards instance ${node} gave ${many} of ${published}`)
    }
    for (const node of nodes) {
      const { uncaught } = await node.report()
      if (uncaught.length > 0) wrong.push(`signed payloads: ${uncaught[0]}`)
    }
  } catch (error) {
    wrong.push(`signed payloads: ${(error as Error).message}`)
  }
  for (const receiver of receivers) receiver.close()
  return wrong
}

function endAll(): void {
  killNodes()
  void stopRedis()
}

process.on('exit', endAll)
runFuzz(FULL, run)
