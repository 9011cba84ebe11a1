import { expect } from 'chai'
import { needs } from '../../../support/programs.ts'
import { redisEngine } from '../../../support/recovery-engines.ts'
import { runRecoveryModel } from '../../../support/recovery-model.ts'
import { startRedis, stopRedis, type TestRedis } from '../../../support/redis.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))
const SCHEDULES = 12

describe(`random schedules of recovery over Redis, from seed ${SEED}`, () => {
  needs('redis-server')
  let redis: TestRedis

  before(async () => {
    redis = await startRedis()
  })

  after(stopRedis)

  for (const forgets of [false, true]) {
    const what = forgets ? 'cut off at times, which also loses logs' : 'cut off at times'
    it(`lose nothing silently, and repeat nothing, with a Redis that is ${what}`, async () => {
      const wrong: string[] = []
      let recovered = 0
      for (let first = 0; first < SCHEDULES; first += 4) {
        const seeds = [0, 1, 2, 3].map((i) => SEED + first + i)
        const reports = await Promise.all(
          seeds.map((seed) => runRecoveryModel(seed, redisEngine(redis, forgets))),
        )
        for (const [i, report] of reports.entries()) {
          recovered += report.recovered
          for (const fault of report.wrong) wrong.push(`seed ${seeds[i]}: ${fault}`)
        }
      }
      expect(wrong).to.deep.equal([])
      expect(recovered).to.be.above(SCHEDULES)
    })
  }
})
