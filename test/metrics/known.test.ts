import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { CloseCode } from '../../lib/index.ts'
import {
  closeCode,
  DROPS,
  method,
  recoveryReason,
  statusCode,
  subprotocol,
  upgradeError,
} from '../../lib/metrics/known.ts'

describe('the known values of attributes', () => {
  it('include the close codes of koaws, and few that a client can choose', () => {
    for (const code of Object.values(CloseCode)) expect(closeCode(code)).to.equal(String(code))
    const all = new Set(Array.from({ length: 1000 }, (_, i) => closeCode(4000 + i)))
    expect(all.size).to.be.below(30)
    expect(closeCode(4999)).to.equal('other')
  })

  it('bound statuses, methods, error codes, reasons and subprotocols', () => {
    expect([101, 0, 403, 418, 599].map(statusCode)).to.deep.equal([
      ...['101', '', '403', '4xx', '5xx'],
    ])
    expect(['GET', 'BREW'].map(method)).to.deep.equal(['GET', '_OTHER'])
    expect([undefined, 'ERR_KOAWS_ORIGIN', 'toString', 'X'].map(upgradeError)).to.deep.equal([
      ...['application', 'ERR_KOAWS_ORIGIN', 'other', 'other'],
    ])
    expect([null, 'epoch', 'x'].map(recoveryReason)).to.deep.equal(['', 'epoch', 'other'])
    expect(['koaws.v1', '', 'mqtt'].map(subprotocol)).to.deep.equal(['koaws.v1', 'none', 'other'])
  })

  it('have an instrument for each counter that docs/stability.md lists', () => {
    const page = readFileSync(new URL('../../docs/stability.md', import.meta.url), 'utf8')
    const rows = page.matchAll(/^\| (?:upgrades|connections|messages|instances) \| (.*) \|$/gm)
    const counters = [...rows].flatMap(([, cell]) =>
      [...(cell as string).matchAll(/`(\w+)`/g)].map(([, name]) => name as string),
    )
    expect(counters).to.have.length.above(30)
    // These count in `koaws.drops`.
    expect(counters.filter((name) => !DROPS.has(name))).to.deep.equal([
      ...['badName', 'retryAnswers', 'retryUnknown', 'streamIdle', 'streamLost', 'streamMemory'],
    ])
    expect([...DROPS.keys()].filter((name) => !counters.includes(name))).to.deep.equal([])
  })
})
