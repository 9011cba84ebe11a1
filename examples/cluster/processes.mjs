// Finds, starts and stops the programs of an example.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chmodSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** How long a program may take to start or to end, in milliseconds. */
const PATIENCE = 15_000

/** A folder for the files of the programs, removed when this process ends. */
export function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'koaws-chat-'))
  chmodSync(folder, 0o711) // workers of nginx run as another user when root starts it
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Returns the path of a program, or undefined. Searches the PATH and other usual places. */
export function findProgram(name, ...folders) {
  const all = [...folders, ...(process.env.PATH ?? '').split(delimiter)]
  return all.map((folder) => join(folder, name)).find(isExecutable)
}

/** Returns the wanted port, or the next free one; 0 means any. */
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
 * Starts a program with its output on the terminal. It leads its own process group, so Ctrl-C reaches only
 * this process, which stops the others in order.
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

/** Resolves when a program listens. */
export async function listening(child, port) {
  const deadline = Date.now() + PATIENCE
  while (!(await answers(port))) {
    if (hasEnded(child)) throw new Error(`${child.spawnfile} could not be started.`)
    if (Date.now() > deadline) throw new Error(`${child.spawnfile} does not listen on ${port}.`)
    await pause(50)
  }
}

/** Stops a program and waits for its end. */
export async function end(child) {
  if (hasEnded(child)) return
  child.isEnding = true
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
  clearTimeout(timer)
}

/** Runs a function once on Ctrl-C or when the terminal closes, then exits. */
export function onStop(stop) {
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, async () => {
      if (stopping) return // npm repeats the signal of the terminal
      stopping = true
      console.log('Stopping …')
      await stop()
      process.exit(0)
    })
  }
}

/** Reports missing programs and how to install them. */
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
