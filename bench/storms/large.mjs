import { setTimeout as wait } from 'node:timers/promises'
import { acquainted, echoOf, settled } from './stage.mjs'

export const name = 'large'
export const title =
  'A client sends frames of 1 MB to one room; then 1,000 rooms get 16.5 KB each in one turn'

const BURST = { rooms: 1_000, bytes: 16.5 * 1024 }

export async function run(stage, { flood }) {
  const [one, two] = [await stage.worker(), await stage.worker()]
  await acquainted([one, two])
  const bystander = await stage.client(one)
  const member = await stage.client(two, ['quiet'])
  const sink = await stage.client(two, ['flooded'])
  const talker = await stage.client(one)
  const attacker = await stage.client(one)
  await bystander.call('startEcho')
  await wait(2_000)
  const calm = echoOf(await bystander.call('takeEchoes'))
  await one.call('begin')
  const said = Math.round(flood / 20)
  const [frames] = await Promise.all([
    attacker.call('flood', { ms: flood }),
    talker.call('say', { to: 'quiet', count: said, every: 15, group: 'quiet' }),
  ])
  const storm = echoOf(await bystander.call('takeEchoes'))
  const arrived = await settled(async () => (await member.call('arrived')).quiet ?? 0)
  const { verdicts, degraded, connects } = await one.call('counts')

  await one.call('begin')
  const rooms = Array.from({ length: BURST.rooms }, (_, i) => `burst ${i}`)
  const reader = await stage.client(two, rooms)
  await talker.call('burst', BURST)
  const burst = await settled(async () => (await reader.call('arrived')).burst ?? 0)
  await bystander.call('stopEcho')
  const after = await one.call('counts')
  return {
    calm,
    storm,
    frames,
    frameVerdicts: verdicts.storm ?? {},
    framesArrived: (await sink.call('arrived')).large ?? 0,
    sinkClosed: (await sink.call('arrived')).closed ?? null,
    said,
    verdicts: verdicts.quiet ?? {},
    arrived,
    connects,
    cuts: degraded,
    burst: { said: BURST.rooms, verdicts: after.verdicts.burst ?? {}, arrived: burst },
  }
}
