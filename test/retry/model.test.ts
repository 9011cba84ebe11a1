import { expect } from 'chai'
import { memoryAdapter } from '../../lib/index.ts'
import { memoryRetries } from '../../lib/retry/memory-store.ts'
import { type RetryEngine, runRetryModel } from '../support/retry-model.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))

/** An engine with a record that is sure of the past, as after some minutes. */
function oldEngine(): RetryEngine {
  const adapter = { ...memoryAdapter(), retries: memoryRetries(Number.NEGATIVE_INFINITY) }
  return { adapter: () => adapter }
}

describe(`random cuts of requests with \`retry\`, from seed ${SEED}`, () => {
  it('run none twice, answer each, and know each outcome, on instances with a shared record', async () => {
    const size = { instances: 3, clients: 20, requests: 60 }
    const report = await runRetryModel(SEED, oldEngine(), size)
    expect(report.wrong).to.deep.equal([])
    expect(report).to.include({ requests: 1_200, answered: 1_200 })
    expect(report.cuts).to.be.above(100)
  })

  it('run none twice, and end each, while instances shut down and others begin', async () => {
    const size = { instances: 3, clients: 20, requests: 60, replaces: 0.1 }
    const { wrong, answered, unknown } = await runRetryModel(SEED + 1, oldEngine(), size)
    expect(wrong).to.deep.equal([])
    expect(answered + unknown).to.equal(1_200)
    expect(answered).to.be.above(1_000)
  })

  it('run none twice, and end each, on instances that share nothing', async () => {
    const engine = { adapter: () => undefined }
    const size = { instances: 3, clients: 20, requests: 60, replaces: 0.1 }
    const { wrong, answered, unknown } = await runRetryModel(SEED + 2, engine, size)
    expect(wrong).to.deep.equal([])
    expect(answered + unknown).to.equal(1_200)
    expect(unknown).to.be.above(10)
  })
})
