import { setTimeout as wait } from 'node:timers/promises'
import { acquainted, echoOf, settled } from './stage.mjs'

export const name = 'names'
export const title = 'A client names 100,000 rooms of 220 bytes; then one more worker starts'

/** Messages of the bystander to its room on the new worker. */
const SAID = 200

export async function run(stage, { names }) {
  const one = await stage.worker()
  const bystander = await stage.client(one)
  await bystander.call('startEcho')
  await wait(2_000)
  const calm = echoOf(await bystander.call('takeEchoes'))
  const attackers = []
  for (let i = 0; i < 4; i++) attackers.push(await stage.client(one))
  await Promise.all(
    attackers.map((each, from) => each.call('names', { count: names / attackers.length, from })),
  )
  const attack = echoOf(await bystander.call('takeEchoes'))
  await one.call('begin')
  const two = await stage.worker()
  const member = await stage.client(two, ['quiet'])
  const known = await acquainted([one, two])
  const talker = await stage.client(one)
  await talker.call('say', { to: 'quiet', count: SAID, every: 20, group: 'quiet' })
  const arrived = await settled(async () => (await member.call('arrived')).quiet ?? 0)
  const storm = echoOf(await bystander.call('stopEcho'))
  const [first, second] = [await one.call('counts'), await two.call('counts')]
  return {
    calm,
    attack,
    storm,
    said: SAID,
    verdicts: first.verdicts.quiet ?? {},
    arrived,
    known,
    connects: first.connects + second.connects,
    cuts: Math.max(first.degraded, second.degraded),
    stalledMs: Math.round(Math.max(first.stalledMs, second.stalledMs)),
    lost: second.backplane.lost,
  }
}
