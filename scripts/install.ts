// Installs a folder of the repository that has packages of its own.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Runs `npm ci` in a folder, unless it has done so with the same lock file. */
export function installFolder(folder: string): void {
  const lock = `${root}${folder}/package-lock.json`
  const installed = `${root}${folder}/node_modules/.koaws-lock.json`
  if (existsSync(installed) && readFileSync(lock).equals(readFileSync(installed))) return
  const words = ['ci', '--prefix', folder, '--no-audit', '--no-fund', '--silent']
  execFileSync('npm', words, { cwd: root, stdio: 'inherit' })
  copyFileSync(lock, installed)
}
