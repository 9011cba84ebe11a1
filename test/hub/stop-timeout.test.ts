import { expect } from 'chai'
import { stopTimeoutWarning } from '../../lib/hub/stop-timeout.ts'

describe('the warning of a kill timeout that is too short', () => {
  it('reads the kill timeout of PM2 from the environment, with the precedence of PM2', () => {
    const pm2 = { pm_id: '0', PM2_HOME: '/pm2' }
    const cases: [Record<string, string>, number, number | null][] = [
      [pm2, 1_600, 1_600],
      [pm2, 1_599, null],
      [{ ...pm2, kill_timeout: '10000' }, 10_000, 10_000],
      [{ ...pm2, kill_timeout: '10001' }, 10_000, null],
      [{ ...pm2, PM2_KILL_TIMEOUT: '3000' }, 4_000, 3_000],
      [{ ...pm2, PM2_KILL_TIMEOUT: '9000', kill_timeout: '500' }, 4_000, 500],
      [{ ...pm2, kill_timeout: '' }, 4_000, 1_600],
      [{ ...pm2, kill_timeout: 'soon' }, 4_000, 1_600],
      [{ kill_timeout: '1' }, 4_000, null],
      [{}, 4_000, null],
    ]
    for (const [env, drain, limit] of cases) {
      const warning = stopTimeoutWarning(env, drain)
      const title = JSON.stringify([env, drain])
      if (limit === null) expect(warning, title).to.equal(null)
      else expect(warning, title).to.include(`process ${limit} ms after`)
    }
  })
})
