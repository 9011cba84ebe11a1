import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterLink } from '../../../../lib/adapters/cluster/link.ts'
import {
  introduction,
  RecordKind,
  RecordReader,
  topicList,
} from '../../../../lib/adapters/cluster/records.ts'

const links = new Set<RecordedLink>()
const raw = new Set<Socket>()
let folder: string | null = null

/** Returns the folder of the current test. */
export function meshFolder(): string {
  folder ??= mkdtempSync(join(tmpdir(), 'koaws-'))
  return folder
}

/** A link that records its events. */
export class RecordedLink {
  readonly id: string
  readonly events: string[] = []
  readonly gone: string[] = []
  readonly texts: string[] = []
  /** The reasons for an impaired state; null: unimpaired. */
  readonly impaired: (string | null)[] = []
  readonly link: ClusterLink
  bytes = 0

  /** @param id the first letters of the id: the link with the smaller id connects */
  constructor(
    id: string,
    {
      interval = 100,
      most = 16 * 1024 * 1024,
      patience = 5_000,
      at = meshFolder(),
      expected = undefined as number | undefined,
    } = {},
  ) {
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
        impaired: (reason) => this.impaired.push(reason?.message ?? null),
      },
      { folder: at, expected, interval, most, patience },
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

/** Records both ends of every stream that is made. */
export class Sockets {
  readonly made: Socket[] = []
  readonly #note = (event: unknown): void =>
    void this.made.push((event as { socket: Socket }).socket)

  constructor() {
    channel('net.server.socket').subscribe(this.#note)
    channel('net.client.socket').subscribe(this.#note)
  }

  /**
   * The open sockets of the mesh, without TCP connections of clients from other tests of this
   * process.
   */
  get open(): Socket[] {
    return this.made.filter(
      ({ destroyed, connecting, remoteAddress }) =>
        !destroyed && !connecting && remoteAddress === undefined,
    )
  }

  stop(): void {
    channel('net.server.socket').unsubscribe(this.#note)
    channel('net.client.socket').unsubscribe(this.#note)
  }
}

/** Connects to a Unix socket without a link. */
export async function rawSocket(path: string): Promise<Socket> {
  const socket = connect(path)
  raw.add(socket)
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Connects a hand-written peer that subscribes to messages for all. */
export async function rawPeer(link: RecordedLink, id = 'zzz'): Promise<Socket> {
  const peer = await rawSocket(link.path)
  peer.write(introduction(RecordKind.hello, id))
  peer.write(topicList(RecordKind.subscribe, 0, ['all', `instance:${id}`]))
  await once(peer, 'data')
  return peer
}

/** Returns a reader of the records after an introduction that has been read. */
export function laterReader(read: (kind: number, body: Buffer) => void): RecordReader {
  let isFirst = true
  const reader = new RecordReader((kind, body) => {
    if (isFirst) isFirst = false
    else read(kind, body)
  })
  reader.push(introduction(RecordKind.hello, 'x'))
  return reader
}

/**
 * Waits for a condition, checked every 2 ms. The limit only serves to name a condition that stays
 * false.
 */
export async function until(what: string, holds: () => boolean, within = 60_000): Promise<void> {
  const deadline = Date.now() + within
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${within} ms`)
    await pause(2)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Waits until all links are up and receive each other's messages. */
export async function meet(...all: RecordedLink[]): Promise<void> {
  await until('all are up', () => all.every((one) => one.isUp))
  const mark = `mark ${Math.random()}`
  // A stream keeps the order: with the marks of the last round all earlier ones have come.
  let looks = 0
  let round = 0
  await until('each hears each', () => {
    if (looks++ % 50 === 0) {
      round++
      for (const one of all) if (one.isUp) void one.say(`${mark} ${round} ${one.id}`)
    }
    return all.every((one) =>
      all.every((other) => one === other || one.texts.includes(`${mark} ${round} ${other.id}`)),
    )
  })
  for (const one of all) one.texts.length = 0
}

/** Closes the links and sockets of a test. Called in `afterEach`. */
export async function closeMesh(): Promise<void> {
  for (const socket of raw) socket.destroy()
  raw.clear()
  await Promise.all([...links].map(({ link }) => link.close()))
  links.clear()
  if (folder) rmSync(folder, { recursive: true, force: true })
  folder = null
}
