// Runs mocha with the arguments of the command line. With AGAIN=1, up to five files with failed tests run
// once more, on their own and one after the other: a busy machine fails one of 30,000 tests now and
// then. What failed at first is printed as "flaky", and needs a mend; what fails twice fails the run.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

const MOST_FILES = 5

const args = process.argv.slice(2)
const mayRepeat = process.env.AGAIN === '1'
const folder = mkdtempSync(join(tmpdir(), 'koaws-mocha-'))
const list = join(folder, 'failed')
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

let status = await mocha(args)
if (status !== 0 && mayRepeat) status = await again()
process.exitCode = status

/** Runs mocha, and returns its exit status. */
async function mocha(args) {
  writeFileSync(list, '')
  const reporter = mayRepeat ? ['--reporter', './scripts/failed-files.cjs'] : []
  const env = { ...process.env, KOAWS_FAILED: list }
  const command = ['node_modules/mocha/bin/mocha.js', ...args, ...reporter]
  const child = spawn(process.execPath, command, { stdio: 'inherit', env })
  const [code] = await once(child, 'exit')
  return code ?? 1
}

/** Runs the files that failed, and returns the status of the whole. */
async function again() {
  const failed = readFileSync(list, 'utf8').trim().split('\n').filter(Boolean)
  const tests = failed.map((line) => JSON.parse(line))
  const files = [...new Set(tests.map(({ file }) => relative('.', file)))]
  // Without a failed test, mocha itself failed.
  if (files.length === 0 || files.length > MOST_FILES || files.includes('')) return 1
  for (const file of files) {
    console.log(`=== once more, on its own: ${file}`)
    if ((await mocha(alone(file))) !== 0) return 1
  }
  for (const { file, title } of tests) console.log(`flaky: ${relative('.', file)}: ${title}`)
  return 0
}

/** Returns the arguments for a run of one file: without the list of files, whether of the command line or its config. */
function alone(file) {
  const rest = []
  let config = '.mocharc.json'
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (arg === '--config') config = args[++i]
    else if (arg === '--jobs') i++
    else if (arg === '--ignore') rest.push(arg, args[++i])
    else if (arg !== '--parallel' && !arg.endsWith('.test.ts')) rest.push(arg)
  }
  const path = join(folder, 'mocharc.json')
  const settings = JSON.parse(readFileSync(config, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...settings, spec: [file] }))
  return ['--config', path, ...rest]
}
