// Compares this checkout with the commit that it branched off, in one run:
//
//     npm run bench:compare -- echo [branch, main by default]
//
// The base is built in a worktree of its own, which is removed at the end.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NAMES = ['echo', 'handshake', 'memory', 'flood']

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const [name, branch = 'main'] = process.argv.slice(2)
if (!NAMES.includes(name)) {
  console.error(`usage: npm run bench:compare -- <${NAMES.join('|')}> [branch]`)
  process.exit(2)
}
const git = (...words) => execFileSync('git', words, { encoding: 'utf8' }).trim()
const base = git('merge-base', 'HEAD', branch)
const folder = join(mkdtempSync(join(tmpdir(), 'koaws-base-')), 'checkout')
const run = (cwd, command, ...words) => {
  const { status } = spawnSync(command, words, {
    cwd,
    stdio: 'inherit',
    env: { ...process.env, BASE: folder },
  })
  if (status !== 0) throw new Error(`${command} ${words.join(' ')} failed in ${cwd}`)
}
try {
  console.log(`base: ${git('log', '-1', '--oneline', base)}`)
  git('worktree', 'add', '--detach', '--quiet', folder, base)
  run(folder, 'npm', 'ci', '--no-audit', '--no-fund', '--silent')
  run(folder, 'npm', 'run', 'build', '--silent')
  run('.', 'npm', 'run', 'build', '--silent')
  if (!existsSync('bench/node_modules')) run('.', 'npm', '--prefix', 'bench', 'ci', '--silent')
  run('.', process.execPath, `bench/${name}.mjs`)
} finally {
  if (existsSync(folder)) git('worktree', 'remove', '--force', folder)
  rmSync(join(folder, '..'), { recursive: true, force: true })
}
