// The chat on two instances behind nginx, connected by Redis, on this machine, until Ctrl-C.
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nginxConf } from './nginx-conf.mjs'
import {
  end,
  findProgram,
  freePort,
  giveUp,
  listening,
  makeFolder,
  onStop,
  start,
} from './processes.mjs'

const INSTANCE = fileURLToPath(new URL('instance.mjs', import.meta.url))
const REDIS_LOG = 'redis.log'
const { PORT = '8080', SECRET = randomBytes(32).toString('hex') } = process.env

const redisServer = findProgram('redis-server')
const nginx = findProgram('nginx', '/usr/sbin', '/usr/local/sbin')
if (!redisServer) {
  giveUp('redis-server is missing. Debian: apt install redis-server. macOS: brew install redis.')
}
if (!nginx) giveUp('nginx is missing. Debian: apt install nginx-light. macOS: brew install nginx.')

const folder = makeFolder()
const started = [] // stopped in reverse order
onStop(endAll)

try {
  const redis = await startRedis()
  const instances = [await startInstance(1, redis), await startInstance(2, redis)]
  const port = await startNginx(instances)
  console.log(`Chat on http://127.0.0.1:${port}/`)
  console.log('Open it in two windows. Ctrl-C stops everything.')
} catch (error) {
  const log = join(folder, REDIS_LOG)
  if (started.length === 1 && existsSync(log)) console.error(readFileSync(log, 'utf8'))
  console.error(error.message)
  await endAll()
  process.exitCode = 1
}

async function startRedis() {
  const port = await freePort()
  const where = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder]
  const what = ['--save', '', '--appendonly', 'no', '--logfile', REDIS_LOG]
  await begin('redis-server', port, redisServer, [...where, ...what])
  return port
}

async function startInstance(number, redis) {
  const port = await freePort()
  await begin(`instance ${number}`, port, process.execPath, [INSTANCE], {
    INSTANCE: String(number),
    PORT: String(port),
    REDIS_URL: `redis://127.0.0.1:${redis}`,
    SECRET, // shared, so that a login is valid on both instances
  })
  return port
}

async function startNginx(instances) {
  const port = await freePort(Number(PORT))
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, nginxConf({ folder, port, instances }))
  await begin('nginx', port, nginx, ['-p', folder, '-e', 'stderr', '-c', file])
  return port
}

async function begin(name, port, program, words, env) {
  const child = start(name, program, words, env)
  started.push(child)
  await listening(child, port)
  console.log(`${name}: port ${port}, pid ${child.pid}`)
}

/** Stops nginx after the instances: before, it would cut connections without a time to reconnect. */
async function endAll() {
  const [redis, ...others] = started
  const proxy = others.splice(2)
  await Promise.all(others.map(end))
  await Promise.all([redis, ...proxy].filter(Boolean).map(end))
}
