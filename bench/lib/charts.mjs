// Draws the charts of the docs from the committed results, with echarts:
//
//     node bench/lib/charts.mjs
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as echarts from 'echarts'

/** Colors that are distinguishable on white, on black, and with red-green color blindness. */
const COLORS = ['#0f8a5f', '#c2541b', '#6b6fd0', '#b3862b', '#3f8fbf', '#a2498f', '#808080']
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'roundRect', 'emptyCircle', 'emptyRect']
const GRID = { lineStyle: { color: '#8b949e', opacity: 0.35 } }
const WIDTH = 760

const leftOf = (panel) => 50 + panel * 380

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  draw('redis-growth', redisGrowth)
  draw('growth', growth)
}

/** Draws a chart of `docs/` from the result file of the same name. */
export function draw(name, chart) {
  const results = new URL(`../results/${name}.json`, import.meta.url)
  const file = fileURLToPath(new URL(`../../docs/${name}.svg`, import.meta.url))
  writeFileSync(file, svg(chart(JSON.parse(readFileSync(results, 'utf8')))))
  console.log(`written: ${file}`)
}

/** What a message costs as instances are added. */
export function redisGrowth({ results, settings: { members, size } }) {
  return {
    title: 'What a message costs as instances are added',
    about: `CPU of all instances and of Redis for messages of ${size} bytes.`,
    unit: 'instances',
    panels: [
      {
        title: `µs per delivery, ${members} members each`,
        series: seriesOf(results, /^throughput/, 'usPerDelivery'),
      },
      {
        title: 'µs per publish, 2 members each',
        series: seriesOf(results, /^bus only/, 'usPerPublish'),
      },
    ],
  }
}

/** What a unit of work costs as connections are added, as a part of its cost with the fewest. */
export function growth({ results }) {
  const part = (pattern) =>
    Object.fromEntries(
      Object.entries(results)
        .filter(([name]) => pattern.test(name))
        .map(([name, { us }]) => {
          const points = Object.entries(us).map(([many, cost]) => [Number(many), cost])
          const [[, first]] = points
          return [name, points.map(([many, cost]) => [many, cost / first])]
        }),
    )
  return {
    title: 'What a unit of work costs as connections are added',
    about: 'CPU of the server for one unit, divided by the same with 1,000 connections.',
    unit: 'connections',
    panels: [
      { title: 'handshake, delivery, heartbeat', series: part(/^(handshake|broadcast|heartbeat)/) },
      { title: 'join and leave', series: part(/^(join|leave)/) },
    ],
  }
}

/** Returns the figures of each contestant by number of instances: name -> [[instances, value]]. */
function seriesOf(results, pattern, figure) {
  const series = {}
  for (const [scenario, modes] of Object.entries(results)) {
    for (const [mode, contestants] of Object.entries(modes)) {
      if (!pattern.test(mode)) continue
      for (const [name, row] of Object.entries(contestants)) {
        series[name] ??= []
        series[name].push([Number.parseInt(scenario, 10), row[figure].median])
      }
    }
  }
  return series
}

/**
 * Returns the chart as SVG, with a title and all figures for screen readers. Text has the color of its surroundings in
 * both color schemes.
 */
export function svg({ title, about, unit, panels }) {
  const names = [...new Set(panels.flatMap(({ series }) => Object.keys(series)))]
  const rows = Math.ceil(names.length / 4)
  const top = 40 + rows * 22
  const chart = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: WIDTH,
    height: top + 270,
  })
  chart.setOption({
    animation: false,
    textStyle: { fontFamily: 'system-ui, sans-serif' },
    color: COLORS,
    legend: { data: names, top: 0, left: 'center', width: WIDTH - 40, itemGap: 16 },
    title: panels.map((panel, i) => ({
      text: panel.title,
      left: leftOf(i),
      top: top - 26,
      textStyle: { fontSize: 12 },
    })),
    grid: panels.map((_, i) => ({ left: leftOf(i), width: 300, top: top + 6, height: 200 })),
    xAxis: panels.map(({ series }, i) => ({
      gridIndex: i,
      type: 'category',
      name: unit,
      nameLocation: 'middle',
      nameGap: 28,
      data: [...new Set(Object.values(series).flatMap((points) => points.map(([x]) => x)))].map(
        (x) => x.toLocaleString('en'),
      ),
    })),
    yAxis: panels.map((_, i) => ({ gridIndex: i, type: 'value', min: 0, splitLine: GRID })),
    series: panels.flatMap(({ series }, i) =>
      Object.entries(series).map(([name, points]) => ({
        name,
        type: 'line',
        xAxisIndex: i,
        yAxisIndex: i,
        symbol: SYMBOLS[names.indexOf(name) % SYMBOLS.length],
        symbolSize: 8,
        color: COLORS[names.indexOf(name) % COLORS.length],
        data: points.map(([, y]) => y),
      })),
    ),
  })
  const drawn = chart.renderToSVGString({ useViewBox: true })
  chart.dispose()
  const figures = panels.map(describe).join(' ')
  const head = `<title>${title}</title><desc>${about} ${figures}</desc><style>text{fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#d0d7de}}</style>`
  return `${drawn.replace(/^<svg ([^>]*)>/, `<svg role="img" $1>${head}`)}\n`
}

function describe({ title, series }) {
  const lines = Object.entries(series).map(
    ([name, points]) => `${name} ${points.map(([, y]) => Number(y.toPrecision(3))).join(', ')}`,
  )
  return `${title}: ${lines.join('; ')}.`
}
