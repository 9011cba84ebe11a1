import { mock } from 'node:test'
import { type Client, type ConnectOptions, connect } from '../../../lib/client/index.ts'
import type { ProtocolDefinition } from '../../../lib/protocol/definition.ts'
import { type ScriptedSocket, scriptedSockets } from './scripted-socket.ts'

/** What `Math.random()` returns with the fake clock. */
let random = 0

/**
 * Installs fake timers, a clock that stands still and a fixed `Math.random()`. Called in a
 * `describe`.
 */
export function useFakeClock(): void {
  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
    random = 0
    mock.method(Math, 'random', () => random)
  })
  afterEach(() => {
    mock.timers.reset()
    mock.restoreAll()
  })
}

export function setRandom(value: number): void {
  random = value
}

/** Advances the fake clock, and runs the microtasks and `setImmediate` callbacks that follow. */
export async function pass(milliseconds: number): Promise<void> {
  mock.timers.tick(milliseconds)
  await settle()
}

/** Runs pending microtasks, including the ones queued meanwhile. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
}

export interface Scripted {
  readonly client: Client<ProtocolDefinition>
  readonly sockets: ScriptedSocket[]
  readonly last: ScriptedSocket
  readonly errors: unknown[]
}

/** Makes a client with scripted WebSockets. */
export function scriptedClient(options: ConnectOptions = {}): Scripted {
  const made = scriptedSockets()
  const errors: unknown[] = []
  const onError = (error: unknown): void => {
    errors.push(error)
  }
  const client = connect('ws://test/chat', { WebSocket: made.WebSocket, onError, ...options })
  return {
    client,
    sockets: made.sockets,
    errors,
    get last() {
      return made.last
    },
  }
}

/** Makes a client that is open. */
export async function openClient(
  options: ConnectOptions = {},
  welcome: object = {},
): Promise<Scripted> {
  const scripted = scriptedClient(options)
  scripted.client.open()
  await settle()
  scripted.last.welcome(welcome)
  return scripted
}

/** Returns the reason of a rejected promise. */
export async function rejection(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await promise
  } catch (error) {
    return error as Record<string, unknown>
  }
  throw new Error('It was not rejected')
}

/** Returns the milliseconds until the next attempt. */
export function delayOf(client: { state: { retryAt?: number } }): number {
  return (client.state.retryAt ?? Number.NaN) - Date.now()
}

/** Defines globals of a page while `run` is called. */
export function onPage<T>(globals: object, run: () => T): T {
  const before = Object.getOwnPropertyDescriptors(globalThis)
  Object.assign(globalThis, globals)
  try {
    return run()
  } finally {
    for (const name of Object.keys(globals)) {
      const descriptor = before[name as keyof typeof before]
      if (descriptor) Object.defineProperty(globalThis, name, descriptor)
      else delete (globalThis as Record<string, unknown>)[name]
    }
  }
}
