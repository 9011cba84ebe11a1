import { expect } from 'chai'
import { QuietTopics } from '../../lib/backplane/quiet-topics.ts'
import { Tops } from '../../lib/backplane/tops.ts'
import { eventually, turn } from '../support/server.ts'

describe('topics that have gone quiet', () => {
  function told(line = { isReady: () => true }): {
    tops: Tops
    quiet: QuietTopics
    topics: string[]
    acknowledge: (() => void)[]
  } {
    const tops = new Tops(0)
    const topics: string[] = []
    const acknowledge: (() => void)[] = []
    const quiet = new QuietTopics(tops, line, (topic) => {
      topics.push(topic)
      return new Promise((resolve) => acknowledge.push(() => resolve(true)))
    })
    return { tops, quiet, topics, acknowledge }
  }

  it('are sent at most 250 at a time, the next ones after the acknowledgements', async () => {
    const { tops, quiet, topics, acknowledge } = told()
    for (let i = 0; i < 300; i++) tops.take([`room:${i}`], 1, 0)
    await quiet.tell(() => 1)
    const telling = quiet.tell(() => 2)
    for (let i = 0; i < 10; i++) await turn()
    expect(topics).to.have.length(250)
    for (const done of acknowledge.splice(0)) done()
    await eventually(() => topics.length === 300, 'the rest')
    for (const done of acknowledge.splice(0)) done()
    await telling
    expect(new Set(topics).size).to.equal(300)
  })

  it('are sent at the end even when they are not quiet yet', async () => {
    const { tops, quiet, topics, acknowledge } = told()
    tops.take(['room:a'], 1, 0)
    const ending = quiet.end(() => 1)
    for (const done of acknowledge.splice(0)) done()
    await ending
    expect(topics).to.deep.equal(['room:a'])
  })

  it('are kept during an outage', async () => {
    let isReady = false
    const { tops, quiet, topics, acknowledge } = told({ isReady: () => isReady })
    tops.take(['room:a'], 1, 0)
    await quiet.tell(() => 1)
    await quiet.tell(() => 2)
    expect(topics).to.deep.equal([])
    isReady = true
    const telling = quiet.tell(() => 3)
    for (const done of acknowledge.splice(0)) done()
    await telling
    expect(topics).to.deep.equal(['room:a'])
  })
})
