import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { labelName, prometheusName } from '../../lib/metrics/instrument.ts'
import { instruments } from '../../lib/metrics/table.ts'
import { needs, pathOf } from '../support/programs.ts'
import {
  dashboardQueries,
  labelsIn,
  metricsIn,
  RULES,
  RULES_TEST,
  readDashboard,
  readRules,
} from './support/files.ts'

const names = new Set(
  instruments.flatMap((instrument) => {
    const name = prometheusName(instrument)
    return instrument.kind === 'histogram'
      ? [`${name}_bucket`, `${name}_sum`, `${name}_count`]
      : [name]
  }),
)
const labels = new Set([
  'koaws_hub',
  ...instruments.flatMap((one) => one.attributes.map(labelName)),
])

/** Returns what an expression names that the table does not have. */
function unknownIn(expression: string): string[] {
  return [
    ...metricsIn(expression).filter((name) => !names.has(name)),
    ...labelsIn(expression).filter((label) => !labels.has(label)),
  ]
}

/** The expressions of the rules, with the lines of a folded one joined. */
function ruleExpressions(): string[] {
  const blocks = readRules().split('- alert: ').slice(1)
  return blocks.map((block) =>
    (/expr: (?:>-)?([\s\S]*?)\n {8}(?:for|labels):/.exec(block)?.[1] ?? '')
      .split('\n')
      .map((line) => line.trim())
      .join(' '),
  )
}

function promtool(...words: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(pathOf('promtool'), words, { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

describe('the dashboard for Grafana', () => {
  it('names metrics and labels of the table only', () => {
    const queries = dashboardQueries()
    expect(queries).to.have.length.above(40)
    for (const { panel, expression } of queries) {
      expect(metricsIn(expression), panel).to.not.be.empty
      expect(unknownIn(expression), `${panel}: ${expression}`).to.deep.equal([])
    }
  })

  it('has panels with an id of their own, which do not overlap', () => {
    const { panels, templating } = readDashboard()
    const ids = panels.map(({ id }) => id)
    expect(ids).to.deep.equal([...new Set(ids)])
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    )
    expect(new Set(cells).size).to.equal(cells.length)
    expect(templating.list.map(({ name }) => name)).to.deep.equal([
      ...['datasource', 'job', 'instance', 'hub'],
    ])
  })
})

describe('the alert rules', () => {
  it('name metrics and labels of the table only', () => {
    const expressions = ruleExpressions()
    expect(expressions).to.have.length.above(10)
    for (const expression of expressions) {
      expect(metricsIn(expression), expression).to.not.be.empty
      expect(unknownIn(expression), expression).to.deep.equal([])
    }
  })

  it('are checked by functions that find wrong names', () => {
    expect(unknownIn('rate(koaws_typo_total{koaws_hub="a"}[5m])')).to.deep.equal([
      'koaws_typo_total',
    ])
    expect(unknownIn('sum by (koaws_hbu) (koaws_ready{error_typ="a"})')).to.deep.equal([
      ...['koaws_hbu', 'error_typ'],
    ])
    expect(unknownIn('koaws_upgrade_duration_seconds')).to.deep.equal([
      'koaws_upgrade_duration_seconds',
    ])
  })

  describe('with promtool', () => {
    needs('promtool')

    it('are valid', () => {
      const { status, output } = promtool('check', 'rules', '--lint-fatal', RULES)
      expect(status, output).to.equal(0)
    })

    it('fire on their series, and are silent on others', () => {
      const { status, output } = promtool('test', 'rules', RULES_TEST)
      expect(status, output).to.equal(0)
      const tested = readFileSync(RULES_TEST, 'utf8')
      const alerts = [...readRules().matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
      expect(alerts.filter((name) => !tested.includes(`name: ${name} fires`))).to.deep.equal([])
      expect(alerts.filter((name) => !tested.includes(`name: ${name} is silent`))).to.deep.equal([])
    })
  })
})
