import { expect } from 'chai'
import { memoryAdapter } from '../../lib/index.ts'
import { comeBack, type Placed, recoverySite } from '../support/recovery.ts'
import { RemoteEngine } from '../support/remote-history.ts'
import { cleanUp } from '../support/server.ts'

const LOG = 'room:chat:1'

describe('an engine that loses messages in an outage', () => {
  afterEach(cleanUp)

  const losses: [string, (engine: RemoteEngine) => void][] = [
    ['the latest messages', (engine) => engine.loseTail(LOG, 1)],
    ['a whole log', (engine) => engine.lose(LOG)],
  ]
  for (const [what, lose] of losses) {
    for (const isTogether of [true, false]) {
      const order = isTogether ? 'together' : 'one after the other'
      it(`gives members all that waited, after it lost ${what}, and instances return ${order}`, async () => {
        const engine = new RemoteEngine(() => 2)
        const sites = [await open(engine), await open(engine)]
        const clients = await Promise.all(
          sites.map(({ port }, i) => comeBack(port, `user=${i}&rooms=chat:1`)),
        )
        for (const client of clients) expect((await client.next()).type).to.equal('koaws:position')
        const say = (i: number, text: string) => sites[i]?.hub.room('chat:1').push('m', text)
        await say(0, 'one')?.recorded
        await say(0, 'two')?.recorded
        for (const client of clients) await client.take(2)
        const stores = [...engine.stores.values()]
        for (const store of stores) store.cut()
        lose(engine)
        const waiting = [say(0, 'a'), say(0, 'b'), say(1, 'c'), say(1, 'd')]
        stores[0]?.heal()
        if (!isTogether) await Promise.all(waiting.slice(0, 2).map((sent) => sent?.recorded))
        stores[1]?.heal()
        for (const sent of waiting) expect(await sent?.recorded).to.have.property('position')
        const heard = await Promise.all(clients.map((client) => client.take(5)))
        for (const [verdict, ...messages] of heard) {
          expect(verdict?.type).to.equal('koaws:recovered')
          expect(verdict?.data).to.include({ recovered: false })
          expect(textsOf(messages).sort()).to.deep.equal(['a', 'b', 'c', 'd'])
        }
        const [one = [], other = []] = heard
        expect(textsOf(one)).to.deep.equal(textsOf(other))
      })
    }
  }
})

function open(engine: RemoteEngine) {
  const adapter = { ...memoryAdapter(), history: engine.open }
  return recoverySite({ adapter, history: { rooms: 'chat:*' } })
}

function textsOf(messages: readonly Placed[]): unknown[] {
  return messages.filter(({ type }) => type === 'm').map(({ data }) => data)
}
