import { expect } from 'chai'
import { nowhere } from '../../lib/history/place.ts'
import type { OpenHistory } from '../../lib/history/store.ts'
import { memoryAdapter } from '../../lib/index.ts'
import { comeBack, type Placed, recoverySite } from '../support/recovery.ts'
import { RemoteEngine } from '../support/remote-history.ts'
import { cleanUp, turn } from '../support/server.ts'

const verdictOf = (all: Placed[]): unknown =>
  all.find(({ type }) => type === 'koaws:recovered')?.data

const positionIn = (message?: Placed): string =>
  (message?.data as Placed | undefined)?.position ?? ''

describe('the verdict on a position in a room without messages', () => {
  afterEach(cleanUp)

  const comeBackWith = async (position: string): Promise<unknown> => {
    const { port } = await recoverySite()
    const ann = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': position } })
    return verdictOf(await ann.rest())
  }

  it('is no when an earlier process gave it, which may have had messages since', async () => {
    const first = await recoverySite()
    const ann = await comeBack(first.port, 'rooms=chat:1')
    const position = positionIn((await ann.rest())[0])
    await ann.leave()
    first.hub.room('chat:1').push('said', 'ends with the process')
    await first.hub.close()
    while (nowhere(Date.now()).epoch === position.slice(0, 9)) await turn() // another millisecond
    expect(await comeBackWith(position)).to.include({ recovered: false, reason: 'epoch' })
  })

  it('is no when it is older than a day, or from the future', async () => {
    for (const time of [1, Date.now() - 25 * 3_600_000, Date.now() + 3_600_000]) {
      const position = `${nowhere(time).epoch}.0.`
      expect(await comeBackWith(position), position).to.include({ recovered: false })
    }
  })

  it('is yes while the room has had none, with a position of that moment', async () => {
    const { port } = await recoverySite()
    const stays = await comeBack(port, 'rooms=chat:1')
    const first = positionIn((await stays.rest())[0])
    const before = nowhere(Date.now()).epoch
    while (nowhere(Date.now()).epoch === before) await turn()
    const ann = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': first } })
    const [verdict] = await ann.rest()
    expect(verdict?.data).to.include({ recovered: true, missed: 0 })
    expect(positionIn(verdict) > first).to.equal(true)
  })
})

describe('a log of which the engine cannot read a part', () => {
  afterEach(cleanUp)

  it('is tried some times, and then the client is told', async () => {
    const engine = new RemoteEngine()
    let reads = 0
    const open: OpenHistory = (id, limits, events) => {
      const store = engine.open(id, limits, events)
      const read = store.read.bind(store)
      store.read = (log, since) => {
        if (since?.offset !== 1) return read(log, since)
        reads++
        return Promise.reject(new Error('data of other software'))
      }
      return store
    }
    const site = await recoverySite({ adapter: { ...memoryAdapter(), history: open } })
    const room = site.hub.room('chat:1')
    const first = await room.push('said', 1).recorded
    if (typeof first === 'string') throw new Error(first)
    await room.push('said', 2).recorded
    const ann = await comeBack(site.port, 'rooms=chat:1', {
      positions: { 'chat:1': first.position },
    })
    const verdict = await ann.next()
    expect(verdict.data).to.include({ recovered: false, reason: 'slow' })
    expect(reads).to.be.within(2, 30)
    room.push('said', 3)
    expect((await ann.next()).data).to.equal(3)
  })
})
