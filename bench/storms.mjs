import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { number } from './lib/settings.mjs'
import * as large from './storms/large.mjs'
import * as names from './storms/names.mjs'
import { Stage } from './storms/stage.mjs'

/** Each storm is a file with `name`, `title` and `run(stage, settings)`. */
const STORMS = [names, large]

const settings = {
  rounds: number('ROUNDS', 2, { max: 20 }),
  names: number('NAMES', 100_000, { max: 1_000_000 }),
  flood: number('FLOOD', 10_000, { max: 120_000 }),
}

/** The build of this checkout, and that of another one: `BEFORE=../koaws-before`. */
const builds = { after: fileURLToPath(new URL('../dist', import.meta.url)) }
if (process.env.BEFORE) {
  const dist = join(resolve(process.env.BEFORE), 'dist')
  if (!existsSync(dist)) throw new Error(`${dist} is not there: run npm run build in it`)
  Object.assign(builds, { before: dist })
}

const only = process.env.ONLY?.split(',')
const storms = STORMS.filter(({ name }) => !only || only.includes(name))
const env = environment()
printEnvironment(env)

const results = {}
for (const { name, title } of storms) {
  results[name] = { title, ...Object.fromEntries(Object.keys(builds).map((build) => [build, []])) }
}
for (let round = 0; round < settings.rounds; round++) {
  for (const { name, run } of storms) {
    // The order alternates, so that a machine that slows down slows both.
    const order = Object.entries(builds).sort(([a], [b]) => (round % 2 ? 1 : -1) * (a < b ? -1 : 1))
    for (const [build, dist] of order) {
      const stage = new Stage(dist)
      try {
        const result = await run(stage, settings)
        console.log(`${name}, ${build}, round ${round}:`, JSON.stringify(result))
        results[name][build].push(result)
      } catch (error) {
        console.log(`${name}, ${build}, round ${round} failed:`, error)
        results[name][build].push({ failed: String(error) })
      } finally {
        await stage.clear()
      }
    }
  }
}
writeResults('storms', { environment: env, settings, results })
