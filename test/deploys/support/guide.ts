import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Returns the code block of a docs page that starts with this file name. */
export function blockOf(page: string, file: string): string {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8')
  for (const [, code = ''] of text.matchAll(/^```[^\n]+\n(.*?)^```$/gms)) {
    if (code.startsWith(`# ${file}\n`) || code.startsWith(`// ${file}\n`)) return code
  }
  throw new Error(`${page} has no block ${file}`)
}

/** Replaces the only occurrence of a text. */
export function replaceOnce(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`"${from}" is not there once`)
  return text.replace(from, () => to)
}

const folders: string[] = []

/** Makes a folder like that of a reader with koaws installed. */
export function readerFolder(): string {
  const folder = mkdtempSync(join(ROOT, 'test/.samples-deploys-'))
  folders.push(folder)
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(ROOT, join(folder, 'node_modules/koaws'), 'dir')
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  return folder
}

export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
}
