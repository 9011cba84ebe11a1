import { expect } from 'chai'
import { runModel } from '../support/backplane-model.ts'
import { ENGINES, type OpenEngine, openEngine } from '../support/model-engines.ts'
import { needs } from '../support/programs.ts'

/**
 * For any random sequence, each member receives a subset of the published messages, in order, and
 * every gap is reported.
 */
describe('instances with members that join and leave while links are cut', function () {
  this.timeout(120_000)
  for (const name of ENGINES) {
    describe(`over ${name}`, () => {
      if (name === 'redis') needs('redis-server')
      let open: OpenEngine | undefined
      afterEach(() => open?.close())

      it('deliver every message once and in order, or report it as lost', async () => {
        const seed = Math.floor(Math.random() * 2 ** 31)
        open = await openEngine(name)
        const report = await runModel({
          engine: open.engine,
          seed,
          messages: 3_000,
          instances: 3,
          rooms: 6,
          burst: 12,
          round: 1_500,
        })
        expect(report.wrong, `seed ${seed}`).to.deep.equal([])
        expect(report.deliveries).to.be.above(0)
        expect(report.owed, 'members that stayed').to.be.above(0)
      })
    })
  }
})
