import { expect } from 'chai'
import { keepersOf } from '../../../lib/hub/presence/keepers.ts'
import { type BreakableAdapter, breakableAdapter } from '../../support/breakable-adapter.ts'
import { type House, house } from '../../support/order.ts'
import { cleanUp, soon } from '../../support/server.ts'

const LINGER = 300

/** For tests in which a user returns between two steps, which takes long on a busy machine. */
const LONG_LINGER = 3_000

describe('users online', () => {
  afterEach(cleanUp)

  let adapter: BreakableAdapter
  let calls: string[]
  let linger = LINGER

  async function open(): Promise<House> {
    const hooks = {
      onOnline: (user: string) => void calls.push(`+${user}`),
      onOffline: (user: string) => void calls.push(`-${user}`),
    }
    return house({ adapter, presence: { ...hooks, linger } })
  }

  async function houses(count: number, lingers = LINGER): Promise<House[]> {
    linger = lingers
    adapter = breakableAdapter({ heartbeat: 200 })
    calls = []
    const all = await Promise.all(Array.from({ length: count }, open))
    await acquainted(all)
    return all
  }

  const acquainted = (all: readonly House[]): Promise<void> =>
    soon(() => {
      for (const { hub } of all) expect(hub.status().backplane.instances).to.equal(all.length - 1)
    })

  /** Expects these calls, and no others during the linger that follows. */
  async function called(...expected: string[]): Promise<void> {
    await soon(() => expect([...calls].sort()).to.deep.equal([...expected].sort()))
    // Each instance may call after a timer of its own, so there is no event to wait for.
    await new Promise((resolve) => setTimeout(resolve, linger + 150))
    expect([...calls].sort()).to.deep.equal([...expected].sort())
    calls.length = 0
  }

  it('cause one onOnline and one onOffline each, on any instance', async () => {
    const all = await houses(3)
    const guests = []
    for (let i = 0; i < 12; i++) guests.push(await all[i % 3]?.enter({ user: `u${i}` }))
    await called(...guests.map((_, i) => `+u${i}`))
    for (const guest of guests) guest?.socket.close()
    await called(...guests.map((_, i) => `-u${i}`))
  })

  it('stay online until their last device disconnects', async () => {
    const [one, two, three] = (await houses(3)) as [House, House, House]
    const devices = []
    for (const where of [one, two, three, one]) devices.push(await where.enter({ user: 'ann' }))
    await called('+ann')
    for (const device of devices.slice(0, 3)) device.socket.close()
    await called()
    devices[3]?.socket.close()
    await called('-ann')
  })

  it('stay online across a reconnect and a deployment', async () => {
    const [one, two, three] = (await houses(3)) as [House, House, House]
    const first = await one.enter({ user: 'ann' })
    await called('+ann')
    first.socket.terminate()
    await first.connection.closed
    await two.enter({ user: 'ann' })
    await called()
    await two.hub.close({ timeout: 100 })
    await acquainted([one, three])
    const third = await three.enter({ user: 'ann' })
    const next = await open()
    await acquainted([one, three, next])
    await called()
    third.socket.close()
    await called('-ann')
  })

  it('go offline when their instance dies, also if it was their keeper', async () => {
    const [one, two, three] = (await houses(3)) as [House, House, House]
    const users = Array.from({ length: 12 }, (_, i) => `u${i}`)
    for (const user of users) await two.enter({ user })
    await one.enter({ user: 'u0' })
    await called(...users.map((user) => `+${user}`))
    adapter.kill(two.hub.status().id)
    await acquainted([one, three])
    await called(...users.slice(1).map((user) => `-${user}`))
  })

  it('stay known to their keepers when instances start and stop', async () => {
    const [one] = (await houses(1)) as [House]
    const users = Array.from({ length: 12 }, (_, i) => `u${i}`)
    const guests = await Promise.all(users.map((user) => one.enter({ user })))
    await called(...users.map((user) => `+${user}`))
    const [two, three] = [await open(), await open()]
    await acquainted([one, two, three])
    await called()
    await two.hub.close({ timeout: 100 })
    await acquainted([one, three])
    await called()
    for (const guest of guests) guest.socket.close()
    await called(...users.map((user) => `-${user}`))
  })

  /** Finds a user with these keepers, the acting keeper first. */
  function keptBy(keepers: readonly House[], all: readonly House[]): string {
    const ids = all.map(({ hub }) => hub.status().id)
    const wanted = String(keepers.map(({ hub }) => hub.status().id))
    for (let i = 0; ; i++) if (String(keepersOf(`u${i}`, ids)) === wanted) return `u${i}`
  }

  it('are reported by the second keeper when the acting keeper has died unnoticed', async () => {
    const all = await houses(3)
    const [one, two, three] = all as [House, House, House]
    const user = keptBy([one, two], all)
    adapter.kill(one.hub.status().id)
    const guest = await three.enter({ user })
    await called(`+${user}`)
    guest.socket.close()
    await called(`-${user}`)
  })

  it('go offline although their keepers restart one after the other', async () => {
    const all = await houses(4)
    const [one, two, three, four] = all as [House, House, House, House]
    const user = keptBy([one, two], all)
    const guest = await three.enter({ user })
    await called(`+${user}`)
    guest.socket.terminate()
    await guest.connection.closed
    for (let i = 0; i < 5; i++) await new Promise(setImmediate) // both keepers know
    for (const [i, house] of [one, two].entries()) {
      await house.hub.close({ timeout: 100 })
      await soon(() => expect(three.hub.status().backplane.instances).to.equal(2 - i))
      await soon(() => expect(four.hub.status().backplane.instances).to.equal(2 - i))
    }
    expect(calls).to.deep.equal([])
    await called(`-${user}`)
  })

  it('go offline although their keepers were cut off when they left', async () => {
    const all = await houses(3)
    const [one, two, three] = all as [House, House, House]
    const user = keptBy([one, two], all)
    const guest = await three.enter({ user })
    await called(`+${user}`)
    for (const each of [one, two]) adapter.cut(each.hub.status().id)
    guest.socket.terminate()
    await guest.connection.closed
    for (let i = 0; i < 5; i++) await new Promise(setImmediate)
    for (const each of [one, two]) adapter.heal(each.hub.status().id)
    await called(`-${user}`)
  })

  it('cause one onOnline and one onOffline each across a rolling restart', async () => {
    let all = await houses(4, LONG_LINGER)
    const users = Array.from({ length: 12 }, (_, i) => `u${i}`)
    for (const [i, user] of users.entries()) await all[i % 4]?.enter({ user })
    await called(...users.map((user) => `+${user}`))
    for (let round = 0; round < 4; round++) {
      const [old, ...others] = all as [House, ...House[]]
      const next = await open()
      await acquainted([...all, next])
      const leaving = [...old.hub.localConnections.values()].map(({ userId }) => userId as string)
      await old.hub.close({ timeout: 100 })
      for (const [i, user] of leaving.entries()) await others[i % 3]?.enter({ user })
      all = [...others, next]
      await acquainted(all)
    }
    await called()
    for (const { hub } of all) for (const one of hub.localConnections.values()) one.terminate()
    await called(...users.map((user) => `-${user}`))
  })

  it('are offline elsewhere while their instance is cut off, and online when it returns', async () => {
    const [one, two] = (await houses(2)) as [House, House]
    await two.enter({ user: 'ann' })
    await called('+ann')
    adapter.cut(two.hub.status().id)
    await soon(() => expect(one.hub.status().backplane.instances).to.equal(0))
    await soon(() => expect(calls).to.deep.equal(['-ann']))
    calls.length = 0
    adapter.heal(two.hub.status().id)
    await acquainted([one, two])
    await soon(() => expect(calls.length).to.be.at.most(1))
  })

  it('emit an error on the app when a hook throws or rejects', async () => {
    adapter = breakableAdapter()
    const presence = {
      linger: 0,
      onOnline: () => {
        throw new Error('one')
      },
      onOffline: () => Promise.reject(new Error('two')),
    }
    const errors: string[] = []
    const one = await house({ presence }, undefined, (app) => {
      app.on('error', (error: Error, where: unknown) => errors.push(`${error.message} ${where}`))
    })
    const guest = await one.enter({ user: 'ann' })
    guest.socket.close()
    await soon(() =>
      expect(errors).to.deep.equal(['one presence.onOnline', 'two presence.onOffline']),
    )
  })
})
