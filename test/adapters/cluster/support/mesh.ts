import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterLink } from '../../../../lib/adapters/cluster/link.ts'

const links = new Set<RecordedLink>()
const raw = new Set<Socket>()
let folder: string | null = null

/** The folder of one test. */
export function meshFolder(): string {
  folder ??= mkdtempSync(join(tmpdir(), 'koaws-'))
  return folder
}

/** A link, and all that it told. */
export class RecordedLink {
  readonly id: string
  readonly events: string[] = []
  readonly gone: string[] = []
  readonly texts: string[] = []
  readonly link: ClusterLink
  bytes = 0

  /** @param id its first letters: of two the smaller one connects */
  constructor(id: string, { interval = 100, most = 16 * 1024 * 1024, at = meshFolder() } = {}) {
    this.id = id.padEnd(20, '_')
    links.add(this)
    this.link = new ClusterLink(
      this.id,
      {
        received: (payload) => {
          this.bytes += payload.length
          this.texts.push(payload.toString('latin1', 0, 100))
        },
        up: () => this.events.push('up'),
        down: () => this.events.push('down'),
        gone: (peer) => this.gone.push(peer),
      },
      { folder: at, interval, most },
    )
    this.link.subscribe(['all']).catch(() => {})
  }

  get isUp(): boolean {
    return this.events.at(-1) === 'up'
  }

  get path(): string {
    return join(meshFolder(), `${this.id}.sock`)
  }

  say(text: string | Buffer, topic = 'all'): Promise<unknown> {
    return this.link.publish([topic], Buffer.from(text))
  }
}

/** Both sides of every stream that was made since. */
export class Sockets {
  readonly made: Socket[] = []
  readonly #note = (event: unknown): void =>
    void this.made.push((event as { socket: Socket }).socket)

  constructor() {
    channel('net.server.socket').subscribe(this.#note)
    channel('net.client.socket').subscribe(this.#note)
  }

  get open(): Socket[] {
    return this.made.filter((socket) => !socket.destroyed)
  }

  stop(): void {
    channel('net.server.socket').unsubscribe(this.#note)
    channel('net.client.socket').unsubscribe(this.#note)
  }
}

/** Connect to a socket by hand. */
export async function rawSocket(path: string): Promise<Socket> {
  const socket = connect(path)
  raw.add(socket)
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Wait until something holds; looks again every 2 ms. */
export async function until(what: string, holds: () => boolean, within = 8_000): Promise<void> {
  const deadline = Date.now() + within
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${within} ms`)
    await pause(2)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Wait until all links are up, and each hears each. */
export async function meet(...all: RecordedLink[]): Promise<void> {
  await until('all are up', () => all.every((one) => one.isUp))
  const mark = `mark ${Math.random()}`
  await until('each hears each', () => {
    for (const one of all) if (one.isUp) void one.say(`${mark} ${one.id}`)
    return all.every((one) =>
      all.every((other) => one === other || one.texts.includes(`${mark} ${other.id}`)),
    )
  })
  await pause(20)
  for (const one of all) one.texts.length = 0
}

/** Close what a test has made; call it in `afterEach`. */
export async function closeMesh(): Promise<void> {
  for (const socket of raw) socket.destroy()
  raw.clear()
  await Promise.all([...links].map(({ link }) => link.close()))
  links.clear()
  if (folder) rmSync(folder, { recursive: true, force: true })
  folder = null
}
