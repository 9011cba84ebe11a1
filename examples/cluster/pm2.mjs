// The chat on four workers of PM2, without Redis, until Ctrl-C. A running PM2 of the user is not affected.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { findProgram, freePort, giveUp, makeFolder, onStop } from './processes.mjs'

const CONFIG = fileURLToPath(new URL('ecosystem.config.cjs', import.meta.url))
const PEERS = fileURLToPath(new URL('../../test/peers/node_modules/.bin', import.meta.url))
const { PORT = '3000', SECRET = randomBytes(32).toString('hex') } = process.env

const program = findProgram('pm2', PEERS)
if (!program) giveUp('PM2 is missing. Install it: npm install --global pm2@7')

const home = makeFolder()
const port = await freePort(Number(PORT))
const env = {
  ...process.env,
  PM2_HOME: home, // starts a separate daemon
  PM2_DISCRETE_MODE: 'true', // no banner
  PM2_DISABLE_VERSION_CHECK: 'true',
  PORT: String(port),
  SECRET, // shared, so that a login is valid on all workers
}
let logs // the process that prints them
let isEnding = false
const beginning = begin()
onStop(endAll)

try {
  await beginning
  if (!isEnding) follow()
} catch (error) {
  console.error(error.message)
  if (!isEnding) {
    await endAll()
    process.exit(1)
  }
}

async function begin() {
  await pm2('start', CONFIG)
  await showWorkers()
  console.log(`Chat on http://127.0.0.1:${port}/`)
  console.log('Open it in two windows. Ctrl-C stops everything. To deploy, in another terminal:')
  console.log(`  PM2_HOME=${home} ${program} reload chat`)
}

async function showWorkers() {
  for (const { pid, pm2_env } of JSON.parse(await pm2('jlist', '--silent'))) {
    if (pm2_env.status !== 'online') {
      throw new Error(`${await pm2('logs', '--raw', '--nostream')}A worker is ${pm2_env.status}.`)
    }
    console.log(`worker ${pm2_env.NODE_APP_INSTANCE}: pid ${pid}`)
  }
}

/** Runs a command and returns its output. Its own process group keeps Ctrl-C from it. */
async function pm2(...words) {
  const child = spawn(program, words, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  if (code !== 0) throw new Error(`pm2 ${words[0]}: ${errors || output}`)
  return output
}

/** Prints the output of the workers. */
function follow() {
  const words = ['logs', 'chat', '--raw', '--lines', '0']
  logs = spawn(program, words, { env, detached: true, stdio: ['ignore', 'inherit', 'inherit'] })
}

async function endAll() {
  isEnding = true
  await beginning.catch(() => {}) // each command would start the daemon again
  logs?.kill()
  await pm2('kill')
}
