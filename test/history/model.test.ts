import { expect } from 'chai'
import { memoryEngine, remoteEngine } from '../support/recovery-engines.ts'
import { randomOf, runRecoveryModel } from '../support/recovery-model.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))
const SCHEDULES = 30

describe(`random schedules of recovery, from seed ${SEED}`, () => {
  const engines = {
    'in this process': () => memoryEngine(),
    'outside, slow and cut off at times': (seed: number) => remoteEngine(delayOf(seed), false),
    'outside, which also forgets': (seed: number) => remoteEngine(delayOf(seed), true),
  }
  for (const [what, make] of Object.entries(engines)) {
    it(`lose nothing silently, and repeat nothing, with an engine ${what}`, async () => {
      const seeds = Array.from({ length: SCHEDULES }, (_, i) => SEED + i)
      const reports = await Promise.all(seeds.map((seed) => runRecoveryModel(seed, make(seed))))
      const wrong = reports.flatMap((report, i) =>
        report.wrong.map((fault) => `seed ${seeds[i]}: ${fault}`),
      )
      expect(wrong).to.deep.equal([])
      const recovered = reports.reduce((sum, report) => sum + report.recovered, 0)
      expect(recovered).to.be.above(SCHEDULES)
    })
  }
})

function delayOf(seed: number): () => number {
  const random = randomOf(seed + 7)
  return () => (random() < 0.06 ? 5 + random() * 25 : random() * 3)
}
