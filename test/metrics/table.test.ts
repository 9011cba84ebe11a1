import * as conventions from '@opentelemetry/semantic-conventions'
import * as incubating from '@opentelemetry/semantic-conventions/incubating'
import { expect } from 'chai'
import { labelName, prometheusName } from '../../lib/metrics/instrument.ts'
import { instruments } from '../../lib/metrics/table.ts'

function valuesOf(module: object, prefix: string): Set<unknown> {
  const entries = Object.entries(module).filter(([name]) => name.startsWith(prefix))
  return new Set(entries.map(([, value]) => value))
}

describe('the table of instruments', () => {
  it('has at least 40 instruments, each with a name, a unit and a sentence', () => {
    expect(instruments).to.have.length.above(39)
    const names = instruments.map(({ name }) => name)
    expect(names).to.deep.equal([...new Set(names)])
    for (const { name, unit, description } of instruments) {
      expect(name).to.match(/^[a-z]+(?:[._][a-z0-9]+)+$/)
      expect(unit, name).to.match(/^(?:s|By|1|\{[a-z]+\})$/)
      expect(description, name).to.match(/^(?:[A-Z]|1 ).*\.$/)
    }
  })

  it('takes names outside of koaws.* from the conventions, with their stability', () => {
    const stable = valuesOf(conventions, 'METRIC_')
    const known = valuesOf(incubating, 'METRIC_')
    for (const { name, stability } of instruments) {
      if (name.startsWith('koaws.')) expect(stability, name).to.equal('development')
      else expect(known.has(name), name).to.equal(true)
      if (!name.startsWith('koaws.')) {
        expect(stability === 'stable', name).to.equal(stable.has(name))
      }
    }
    expect(instruments.filter(({ stability }) => stability === 'stable')).to.have.length(3)
  })

  it('takes attributes outside of koaws.* from the conventions', () => {
    const known = valuesOf(incubating, 'ATTR_')
    const used = new Set(instruments.flatMap(({ attributes }) => attributes))
    const foreign = [...used].filter((name) => !name.startsWith('koaws.'))
    expect(foreign).to.have.length.above(4)
    expect(foreign.filter((name) => !known.has(name))).to.deep.equal([])
    // Deprecated forms of these two exist.
    expect(foreign).to.include('messaging.system.name')
    expect(foreign).to.not.include('rpc.response.status_code')
  })

  it('has boundaries that grow, for histograms only', () => {
    for (const { name, kind, boundaries } of instruments) {
      expect(boundaries.length > 0, name).to.equal(kind === 'histogram')
      expect(boundaries).to.deep.equal([...boundaries].sort((a, b) => a - b))
    }
  })

  it('has names and labels that are valid in Prometheus, and different there', () => {
    const names = instruments.map((instrument) => prometheusName(instrument))
    expect(names).to.deep.equal([...new Set(names)])
    for (const name of names) expect(name).to.match(/^[a-z_][a-z0-9_]*$/)
    expect(names).to.include.members([
      'rpc_server_call_duration_seconds',
      'koaws_messages_sent_size_bytes_total',
      'koaws_connections_active',
      'nodejs_eventloop_utilization_ratio',
    ])
    expect(labelName('koaws.message.type')).to.equal('koaws_message_type')
  })
})
