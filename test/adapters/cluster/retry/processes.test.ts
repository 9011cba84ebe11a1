import { expect } from 'chai'
import { closeMesh } from '../support/mesh.ts'
import { endProcesses } from '../support/process.ts'
import { runRetryChaos } from '../support/retry-chaos.ts'
import { isRejected, openProcesses as open, type RetryProcess } from '../support/retry-process.ts'

const FIRST = { state: 'first' }
const UNKNOWN = { state: 'unknown' }
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))

describe('the record of requests with `retry` of several processes', function () {
  this.timeout(120_000)

  afterEach(async () => {
    await endProcesses()
    await closeMesh()
  })

  it('knows the answers of a killed process, and that the outcome of what it ran is unknown', async () => {
    const [one, two, three] = (await open(3)) as [RetryProcess, RetryProcess, RetryProcess]
    for (let i = 0; i < 30; i++) {
      expect(await one.call('claim', `a${i}`, 'h', false)).to.deep.equal(FIRST)
      if (i % 2) await one.call('settle', `a${i}`, `answer ${i}`)
    }
    await one.kill()
    for (let i = 0; i < 30; i++) {
      const known = await (i % 3 ? two : three).outcome(`a${i}`)
      const done = { state: 'done', hash: 'h', answer: `answer ${i}` }
      expect(known).to.deep.equal(i % 2 ? done : UNKNOWN)
    }
    for (const again of [true, false]) {
      expect(await two.call('claim', 'a0', 'h', again)).to.deep.equal(UNKNOWN)
    }
  })

  it('runs a first attempt after all but one were killed, and is not sure of a second one', async () => {
    const all = (await open(3, 6_000)) as [RetryProcess, RetryProcess, RetryProcess]
    const [one, two, three] = all
    for (let i = 0; ; i++) {
      const claim = await three.call('claim', `sure ${i}`, 'h', true)
      if ((claim as { state: string }).state === 'first') break
    }
    await Promise.all([one.kill(), two.kill()])
    let claim: unknown
    do claim = await three.call('claim', 'first', 'h', false)
    while (isRejected(claim))
    expect(claim).to.deep.equal(FIRST)
    expect(await three.call('claim', 'second', 'h', true)).to.deep.equal(UNKNOWN)
  })

  it('refuses a claim while a process hangs, runs nothing then, and claims it after all', async () => {
    const [one, two, three] = (await open(3)) as [RetryProcess, RetryProcess, RetryProcess]
    three.child.kill('SIGSTOP')
    expect(isRejected(await one.call('claim', 'late', 'h', false))).to.equal(true)
    expect(isRejected(await one.call('claim', 'later', 'h', false))).to.equal(true)
    expect(isRejected(await one.call('claim', 'later', 'other', false))).to.equal(true)
    three.child.kill('SIGCONT')
    let claim: unknown
    do claim = await one.call('claim', 'late', 'h', false)
    while (isRejected(claim))
    // If it was recorded before it was claimed again, its outcome is unknown.
    expect([FIRST, UNKNOWN]).to.deep.include(claim)
    if ((claim as { state: string }).state === 'first') await one.call('settle', 'late', 'answer')
    await two.answers()
    await two.outcome('late')
    expect(await two.outcome('later')).to.deep.equal(UNKNOWN)
    expect(await two.call('claim', 'later', 'h', false)).to.deep.equal(UNKNOWN)
  })

  it('closes while a process hangs, and the answer is kept or unknown', async () => {
    const [one, two, three] = (await open(3)) as [RetryProcess, RetryProcess, RetryProcess]
    const ids = Array.from({ length: 10 }, (_, i) => `a${i}`)
    for (const id of ids) expect(await one.call('claim', id, 'h', false)).to.deep.equal(FIRST)
    three.child.kill('SIGSTOP')
    for (const id of ids) void one.call('settle', id, 'answer')
    await one.close()
    three.child.kill('SIGCONT')
    for (const id of ids) {
      const known = await two.outcome(id)
      expect([{ state: 'done', hash: 'h', answer: 'answer' }, UNKNOWN]).to.deep.include(known)
    }
  })

  it(`runs no request twice while processes are killed, closed and stopped, from seed ${SEED}`, async () => {
    const size = { requests: 250, atOnce: 8, processes: 4, between: 1_000, kept: 20_000 }
    const report = await runRetryChaos(SEED, size)
    expect(report.wrong).to.deep.equal([])
    expect(report.runs).to.be.above(125)
    expect(report.answered).to.be.above(60)
  })
})
