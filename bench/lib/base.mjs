import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** The built checkout that is the base of a comparison; set by `scripts/bench-compare.mjs`. */
const folder = process.env.BASE

/** Baseline and contestants of a run. In a comparison: the base branch against this checkout. */
export function contestantsOf(baseline, names) {
  return folder ? ['koaws-base', ['koaws-base', 'koaws-after']] : [baseline, names]
}

/** Where a run writes its results. A comparison does not change the committed ones. */
export function resultName(name) {
  return folder ? `compare-${name}` : name
}

/** Imports koaws as it is built here, or in the base. */
export function importKoaws(ofBase) {
  return import(
    ofBase ? pathToFileURL(join(folder, 'dist', 'index.js')).href : '../../dist/index.js'
  )
}
