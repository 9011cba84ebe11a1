import { expect } from 'chai'
import { watchProcess } from '../long/support/watch.ts'
import { attackStreams } from '../support/hostile-streams-attack.ts'
import { cleanUp } from '../support/server.ts'

describe('hostile messages of streams @http1', () => {
  afterEach(cleanUp)

  it('of every shape, 20,000 in all, get documented answers and leave no handler', async function () {
    this.timeout(300_000)
    const watch = watchProcess()
    const report = await attackStreams({ seed: 20261130, messages: 20_000, connections: 12 })
    watch.end()
    expect([...report.violations, ...watch.violations]).to.deep.equal([])
    expect(report.sent).to.equal(20_000)
    expect(report.received).to.include.keys('koaws:item', 'koaws:credit', 'koaws:cancel')
    expect(report.codes).to.include.keys(
      'ERR_KOAWS_MALFORMED',
      'ERR_KOAWS_STREAM',
      'ERR_KOAWS_STREAM_LIMIT',
      'ERR_KOAWS_STREAM_LOST',
    )
    expect(report.mostWaiting).to.be.lessThan(8 * 262_144 + 1_048_576)
  })
})
