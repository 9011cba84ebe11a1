import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
export const GUIDE = readFileSync(join(ROOT, 'docs/guides/from-ws.md'), 'utf8')

/** The complete files of the guide, such as `old/server.mjs`. */
export const guideFiles = new Map(
  [...GUIDE.matchAll(/^```\w+\n((?:\/\/|#) ([\w./-]+)\n.*?)^```$/gms)].map(([, code, name]) => [
    name as string,
    code as string,
  ]),
)

/** Writes the files of the guide to a folder below which koaws is installed. */
export function writeGuide(folder: string): void {
  for (const [name, code] of guideFiles) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), code)
  }
}

/** Makes a folder that has koaws as a dependency. */
export function install(manifest: object): string {
  const folder = mkdtempSync(join(ROOT, 'test/.samples-'))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(ROOT, join(folder, 'node_modules/koaws'), 'dir')
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }))
  return folder
}
