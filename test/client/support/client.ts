import { mock } from 'node:test'
import { type Client, type ConnectOptions, connect } from '../../../lib/client/index.ts'
import type { ProtocolDefinition } from '../../../lib/protocol/definition.ts'
import { type ScriptedSocket, scriptedSockets } from './scripted-socket.ts'

/** What `Math.random()` gives while the clock is a test's. */
let random = 0

/** Fake timers, a clock that stands at 0, and no chance: call it in a `describe`. */
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

/** Let so much time pass, then everything that is due in microtasks. */
export async function pass(milliseconds: number): Promise<void> {
  mock.timers.tick(milliseconds)
  await settle()
}

/** Let microtasks run, also those that come from others. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
}

export interface Scripted {
  readonly client: Client<ProtocolDefinition>
  readonly sockets: ScriptedSocket[]
  readonly last: ScriptedSocket
  readonly errors: unknown[]
}

/** A client whose WebSockets are scripted. */
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

/** A client that is open. */
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

/** What a promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await promise
  } catch (error) {
    return error as Record<string, unknown>
  }
  throw new Error('It was not rejected')
}
