// Finding, starting and ending the programs of an example.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chmodSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** How long a program may take to start or to end, in milliseconds. */
const PATIENCE = 15_000

/** A folder for what the programs write: removed when this process ends. */
export function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'koaws-chat-'))
  chmodSync(folder, 0o711) // nginx, started by root, works as another user
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The path of a program, or undefined: from the PATH, and from where else it may be. */
export function findProgram(name, ...folders) {
  const all = [...folders, ...(process.env.PATH ?? '').split(delimiter)]
  return all.map((folder) => join(folder, name)).find(isExecutable)
}

/** The port that is wanted, or the next that no other program has; 0: any. */
export async function freePort(wanted = 0) {
  const server = createServer().listen(wanted, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    if (error.code === 'EADDRINUSE') return freePort(wanted + 1)
    throw error
  }
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/**
 * Start a program whose output goes to the terminal. It is the leader of a group, so Ctrl-C reaches this
 * process alone, which ends the others in order.
 */
export function start(name, program, words, env = {}) {
  const child = spawn(program, words, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  })
  child.on('exit', (code, signal) => {
    if (!child.isEnding) console.error(`${name} has ended: ${signal ?? `code ${code}`}`)
  })
  return child
}

/** Until a program listens. */
export async function listening(child, port) {
  const deadline = Date.now() + PATIENCE
  while (!(await answers(port))) {
    if (hasEnded(child)) throw new Error(`${child.spawnfile} could not be started.`)
    if (Date.now() > deadline) throw new Error(`${child.spawnfile} does not listen on ${port}.`)
    await pause(50)
  }
}

/** Tell a program to end, and wait for it. */
export async function end(child) {
  if (hasEnded(child)) return
  child.isEnding = true
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
  clearTimeout(timer)
}

/** On Ctrl-C, or when the terminal closes, run this once and exit. */
export function onStop(stop) {
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, async () => {
      if (stopping) return // npm passes on what the terminal has sent already
      stopping = true
      console.log('Stopping …')
      await stop()
      process.exit(0)
    })
  }
}

/** What is not there, and how to get it. */
export function giveUp(...lines) {
  for (const line of lines) console.error(line)
  process.exit(1)
}

function hasEnded({ exitCode, signalCode, pid }) {
  return pid === undefined || exitCode !== null || signalCode !== null
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
