import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const RULES = fileURLToPath(
  new URL('../../../docs/prometheus/koaws.rules.yml', import.meta.url),
)
export const RULES_TEST = fileURLToPath(new URL('../koaws.rules.test.yml', import.meta.url))
const DASHBOARD = new URL('../../../docs/grafana/koaws.json', import.meta.url)

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: readonly { readonly expr: string }[]
}

export interface Dashboard {
  readonly title: string
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string }[] }
}

export function readDashboard(): Dashboard {
  return JSON.parse(readFileSync(DASHBOARD, 'utf8'))
}

/** A query of the dashboard, as Grafana sends it with all variables set to All. */
export interface Query {
  readonly panel: string
  readonly expression: string
}

export function dashboardQueries(): Query[] {
  return readDashboard().panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({
      panel: title,
      expression: expr
        .replaceAll(/"\$(?:job|instance|hub)"/g, '".*"')
        .replaceAll('$__rate_interval', '1m'),
    })),
  )
}

export function readRules(): string {
  return readFileSync(RULES, 'utf8')
}

/** Returns the names of metrics in an expression. */
export function metricsIn(expression: string): string[] {
  const code = expression.replaceAll(/"[^"]*"/g, '""').replaceAll(/\{[^}]*\}/g, '{}')
  const labels = /\b(?:by|without|on|ignoring)\s*\([^)]*\)/g
  const words = code.replaceAll(labels, '').match(/\b(?:koaws|rpc|messaging|http|nodejs)_\w+/g)
  return [...new Set(words ?? [])]
}

/** Returns the labels that an expression selects by or groups by, without those of Prometheus itself. */
export function labelsIn(expression: string): string[] {
  const groups = [...expression.matchAll(/\bby\s*\(([^)]*)\)/g)].flatMap(([, list = '']) =>
    list.split(',').map((label) => label.trim()),
  )
  const selectors = [...expression.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)\s*"/g)].map(
    ([, label = '']) => label,
  )
  const all = new Set([...groups, ...selectors])
  return [...all].filter((label) => !['job', 'instance', 'le', 'alertname'].includes(label))
}
