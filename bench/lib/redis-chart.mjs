import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const RESULTS = new URL('../results/redis-growth.json', import.meta.url)
const CHART = new URL('../../docs/redis-growth.svg', import.meta.url)

const WIDTH = 760
const HEIGHT = 340
const PANEL = { width: 300, height: 210, top: 76 }
/** Colors that are distinguishable on white, on black, and with red-green color blindness. */
const LOOKS = {
  koaws: { colour: '#0f8a5f', dash: '', mark: 'circle' },
  'redis-adapter': { colour: '#c2541b', dash: '6 4', mark: 'square' },
  'redis-streams-adapter': { colour: '#6b6fd0', dash: '2 3', mark: 'triangle' },
}

/** Draws docs/redis-growth.svg from results/redis-growth.json. */
export function chartOfResults() {
  const file = fileURLToPath(CHART)
  writeFileSync(file, growthChart(JSON.parse(readFileSync(RESULTS, 'utf8'))))
  console.log(`written: ${file}`)
}

/** Returns the figures of each contestant by number of instances: name -> [[instances, value]]. */
function seriesOf(results, pattern, figure) {
  const series = {}
  for (const [scenario, modes] of Object.entries(results)) {
    const instances = Number.parseInt(scenario, 10)
    for (const [mode, contestants] of Object.entries(modes)) {
      if (!pattern.test(mode)) continue
      for (const [name, row] of Object.entries(contestants)) {
        series[name] ??= []
        series[name].push([instances, row[figure].median])
      }
    }
  }
  return series
}

/**
 * Plain SVG. Everything except the data has the color of the surrounding text, in both color
 * schemes.
 */
export function growthChart({ results, settings: { members, size } }) {
  const panels = [
    {
      title: `µs per delivery, ${members} members each`,
      series: seriesOf(results, /^throughput/, 'usPerDelivery'),
      left: 50,
    },
    {
      title: 'µs per publish, 2 members each',
      series: seriesOf(results, /^bus only/, 'usPerPublish'),
      left: 430,
    },
  ]
  const about = `CPU of all instances and of Redis for messages of ${size} bytes, with 1, 2, 4 and 8 instances. ${panels.map(describe).join(' ')}`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title about" font-family="system-ui, sans-serif" font-size="12">
<title id="title">What a message costs as instances are added</title>
<desc id="about">${about}</desc>
<style>
  text { fill: #24292f } .axis { stroke: #57606a } .grid { stroke: #57606a; stroke-opacity: .25 }
  @media (prefers-color-scheme: dark) { text { fill: #d0d7de } .axis { stroke: #8b949e } .grid { stroke: #8b949e } }
</style>
${panels.map(panel).join('\n')}
${legend()}
</svg>
`
}

function describe({ title, series }) {
  const lines = Object.entries(series).map(
    ([name, points]) => `${name} ${points.map(([, value]) => number(value)).join(', ')}`,
  )
  return `${title}: ${lines.join('; ')}.`
}

function panel({ title, series, left }) {
  const points = Object.values(series).flat()
  const instances = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b)
  const { ticks, max } = scaleOf(Math.max(...points.map(([, y]) => y)))
  const x = (value) =>
    left + 20 + (instances.indexOf(value) / (instances.length - 1)) * (PANEL.width - 40)
  const y = (value) => PANEL.top + PANEL.height * (1 - value / max)
  const bottom = PANEL.top + PANEL.height
  const parts = [
    `<text x="${left}" y="${PANEL.top - 16}" font-weight="600">${title}</text>`,
    ...ticks.map(
      (value) =>
        `<line class="${value === 0 ? 'axis' : 'grid'}" x1="${left}" x2="${left + PANEL.width}" y1="${f(y(value))}" y2="${f(y(value))}"/><text x="${left - 6}" y="${f(y(value) + 4)}" text-anchor="end">${number(value)}</text>`,
    ),
    ...instances.map(
      (value) => `<text x="${f(x(value))}" y="${bottom + 18}" text-anchor="middle">${value}</text>`,
    ),
    `<text x="${left + PANEL.width / 2}" y="${bottom + 36}" text-anchor="middle">instances</text>`,
  ]
  for (const [name, list] of Object.entries(series)) {
    const { colour, dash } = LOOKS[name]
    const path = list.map(([at, value]) => `${f(x(at))},${f(y(value))}`).join(' ')
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash && ` stroke-dasharray="${dash}"`}/>`,
      ...list.map(([at, value]) => mark(name, x(at), y(value))),
    )
  }
  return parts.join('\n')
}

function legend() {
  let left = 50
  return Object.entries(LOOKS)
    .map(([name, { colour, dash }]) => {
      const at = left
      left += 60 + name.length * 7
      return `<line x1="${at}" x2="${at + 28}" y1="20" y2="20" stroke="${colour}" stroke-width="2"${dash && ` stroke-dasharray="${dash}"`}/>${mark(name, at + 14, 20)}<text x="${at + 34}" y="24">${name}</text>`
    })
    .join('\n')
}

function mark(name, x, y) {
  const { colour, mark: shape } = LOOKS[name]
  if (shape === 'circle') return `<circle cx="${f(x)}" cy="${f(y)}" r="4" fill="${colour}"/>`
  if (shape === 'square') {
    return `<rect x="${f(x - 4)}" y="${f(y - 4)}" width="8" height="8" fill="${colour}"/>`
  }
  return `<path d="M${f(x)} ${f(y - 5)}l5 9h-10z" fill="${colour}"/>`
}

/** Returns four to six round steps that reach the largest value. */
function scaleOf(largest) {
  const rough = largest / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough)
  const count = Math.ceil(largest / step)
  return {
    max: count * step,
    ticks: Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6))),
  }
}

const f = (value) => String(Number(value.toFixed(1)))
const number = (value) => String(Number(value.toPrecision(3)))
