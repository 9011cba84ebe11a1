import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { TestSocket } from '../../../lib/testing/index.ts'
import { openSocket } from '../../support/server.ts'

export const { sign }: { sign(claims: object, secret: string, options?: object): string } =
  createRequire(import.meta.url)('jsonwebtoken')

/** The secret of the tokens, which each chat gets in its environment. */
export const SECRET = 'the secret of this test'

/** Returns a token with this lifetime in seconds, which the chats accept. */
export const tokenOf = (user: string, expiresIn = 600): string =>
  sign({}, SECRET, { subject: user, expiresIn })

/** Returns the cookie header of a browser with a logged-in user. */
export const cookieOf = (user: string): { cookie: string } => ({ cookie: `token=${tokenOf(user)}` })

const chats = new Set<ChatProcess>()

/** A chat server in a separate process, because some clients end the process. */
export class ChatProcess {
  /** The output so far. */
  output = ''
  port = 0
  /** The exit code; null after a signal. */
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess
  readonly #waiting = new Set<() => void>()

  constructor(file: string, env: Record<string, string> = {}) {
    this.#child = fork(file, {
      execArgv: ['--import', new URL('tell-port.mjs', import.meta.url).href],
      env: { ...process.env, NODE_OPTIONS: '', PORT: '0', SECRET, ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.ended = once(this.#child, 'close').then(([code]) => code as number | null)
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.output += chunk
        this.#wake()
      })
    }
    chats.add(this)
  }

  /** Resolves when the server listens. */
  async listening(): Promise<void> {
    const failed = this.ended.then((code) => {
      throw new Error(`it ended with ${code}: ${this.output}`)
    })
    ;[this.port] = (await Promise.race([once(this.#child, 'message'), failed])) as [number]
  }

  /** Resolves when the server has printed a text. */
  async printed(text: string): Promise<void> {
    while (!this.output.includes(text))
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  /** Opens a WebSocket with the cookie of a user, and joins a room under the claimed name. */
  async join(user: string, room = 'lobby', claimed = user): Promise<TestSocket> {
    const socket = await openSocket(this.port, '/chat', { headers: cookieOf(user) })
    await enter(socket, claimed, room)
    return socket
  }

  /** Resolves with the number of rooms when exactly this many connections are open. */
  async roomsAt(connections: number): Promise<number> {
    for (;;) {
      const headers = { authorization: `Bearer ${tokenOf('operator')}` }
      const response = await fetch(`http://127.0.0.1:${this.port}/stats`, { headers })
      const stats = (await response.json()) as { connections: number; rooms: number }
      if (stats.connections === connections) return stats.rooms
    }
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

/** Sends the messages `auth`, with the claimed name, and `join`. */
export async function enter(socket: TestSocket, claimed: string, room: string): Promise<void> {
  socket.json({ type: 'auth', userId: claimed })
  socket.json({ type: 'join', room })
  for (const expected of ['authed', 'joined']) {
    const { type } = (await socket.nextJson()) as { type: string }
    if (type !== expected) throw new Error(`${type} came, not ${expected}`)
  }
}

/** Starts a chat, and waits until it listens. */
export async function startChat(file: string): Promise<ChatProcess> {
  const chat = new ChatProcess(file)
  await chat.listening()
  return chat
}

/** Ends all chats except one. */
export async function endChats(except?: ChatProcess): Promise<void> {
  for (const chat of chats) {
    if (chat === except) continue
    chats.delete(chat)
    await chat.end()
  }
}
