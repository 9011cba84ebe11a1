import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { readdir, rmdir, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { AdapterEvents, AdapterLink } from '../../backplane/adapter.ts'
import { debugBackplane, messageOf } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'
import { introduction, Record } from './records.ts'
import { Stream, type StreamOwner } from './stream.ts'

const SUFFIX = '.sock'
/** How long to wait for those who are there already, and before another try to listen, in milliseconds. */
const PATIENCE = 1_000
/** Between binding and listening a socket refuses, and so does one whose owner is dead. */
const GRACE = 50

/** What a link needs to know. */
export interface ClusterLinkOptions {
  readonly folder: string
  /** How often the folder is looked at, in milliseconds. */
  readonly interval: number
  /** Bytes that may wait for one other instance. */
  readonly most: number
}

/**
 * The link of one hub to those of the same machine. It listens on a socket of its own in the folder of
 * the application, and has one stream to each other instance: of two, the one with the smaller id makes
 * it, and the other knocks.
 */
export class ClusterLink implements AdapterLink, StreamOwner {
  readonly id: string
  readonly topics: Set<string> = new Set()
  readonly #options: ClusterLinkOptions
  readonly #events: AdapterEvents
  readonly #path: string
  readonly #streams = new Map<string, Stream>()
  /** Instances to which a stream broke off: they may be alive. */
  readonly #broken = new Set<string>()
  /** Instances that are being connected to. */
  readonly #calling = new Set<string>()
  /** Instances that were found at the start and are not connected yet. */
  #expected: Set<string> | null = new Set()
  #server: Server | null = null
  #subscribing: { topics: string[]; done: Promise<void> } | null = null
  #timer: NodeJS.Timeout | undefined
  #up = false
  #closed = false

  constructor(id: string, events: AdapterEvents, options: ClusterLinkOptions) {
    this.id = id
    this.#events = events
    this.#options = options
    this.#path = join(options.folder, id + SUFFIX)
    process.nextTick(() => this.#listen())
  }

  subscribe(topics: readonly string[]): Promise<void> {
    for (const topic of topics) this.topics.add(topic)
    if (!this.#up) return Promise.reject(away())
    if (!this.#subscribing) {
      const batch: string[] = []
      const done = Promise.resolve().then(() => this.#subscribe(batch))
      this.#subscribing = { topics: batch, done }
    }
    this.#subscribing.topics.push(...topics)
    return this.#subscribing.done
  }

  unsubscribe(topics: readonly string[]): void {
    const gone = topics.filter((topic) => this.topics.delete(topic))
    if (gone.length > 0) for (const stream of this.#streams.values()) stream.unsubscribe(gone)
  }

  async publish(topics: readonly string[], payload: Buffer): Promise<number> {
    if (!this.#up) throw away()
    let written = 0
    for (const stream of this.#streams.values()) if (stream.publish(topics, payload)) written++
    return written
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#up = false
    clearTimeout(this.#timer)
    paths.delete(this.#path)
    for (const stream of this.#streams.values()) stream.bye()
    this.#server?.close()
    await unlink(this.#path).catch(ignore)
    await rmdir(this.#options.folder).catch(ignore) // the last one
  }

  // ---- StreamOwner

  ready(stream: Stream): void {
    const { peer } = stream
    if (this.#closed || peer === this.id) {
      stream.destroy()
      return
    }
    this.#streams.get(peer)?.destroy()
    this.#streams.set(peer, stream)
    this.#found(peer)
    if (this.#broken.delete(peer) && this.#up) {
      this.#events.down(new AdapterError('ERR_KOAWS_BACKPLANE', `the stream to ${peer} broke off`))
      this.#events.up()
    }
  }

  knocked(id: string): void {
    if (this.id < id && !this.#streams.has(id)) this.#call(id)
  }

  received(payload: Buffer): void {
    if (!this.#closed) this.#events.received(payload)
  }

  ended(stream: Stream, bye: boolean): void {
    const { peer } = stream
    if (peer === '' || this.#streams.get(peer) !== stream) return
    this.#streams.delete(peer)
    if (this.#closed) return
    if (bye) {
      this.#events.gone(peer)
      return
    }
    this.#broken.add(peer)
    this.#call(peer)
  }

  // ---- the rest

  async #subscribe(topics: readonly string[]): Promise<void> {
    this.#subscribing = null
    const wanted = topics.filter((topic) => this.topics.has(topic))
    await Promise.all([...this.#streams.values()].map((stream) => stream.subscribe(wanted)))
  }

  #listen(): void {
    if (this.#closed) return
    const { folder } = this.#options
    const server = createServer((socket) => new Stream(socket, this, null, this.#options.most))
    this.#server = server
    const failed = (error: unknown): void => {
      debugBackplane('listening on %s failed: %s', this.#path, messageOf(error))
      server.close()
      this.#wait(() => this.#listen(), PATIENCE)
    }
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      // Workers of node:cluster would otherwise share one socket of the primary.
      server.listen({ path: this.#path, exclusive: true })
      server.unref()
    } catch (error) {
      failed(error)
      return
    }
    server.once('error', failed)
    server.once('listening', () => {
      server.off('error', failed)
      server.on('error', ignore)
      removeAtExit(this.#path)
      try {
        chmodSync(this.#path, 0o600)
      } catch {}
      void this.#look()
    })
  }

  /** Connect to those in the folder, and look again later. */
  async #look(): Promise<void> {
    const names = await readdir(this.#options.folder).catch((): string[] => [])
    if (this.#closed) return
    const others = names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter((id) => id !== this.id && !this.#streams.has(id))
    for (const id of this.#broken) if (!others.includes(id)) this.#dead(id)
    for (const id of others) this.#call(id)
    if (this.#expected && !this.#up) {
      for (const id of others) this.#expected.add(id)
      if (this.#expected.size === 0) this.#begin()
      else this.#wait(() => this.#begin(), PATIENCE)
      return
    }
    if (!isThere(this.#path)) {
      // Somebody has tidied up: those who come now would not find this instance.
      this.#server?.close()
      this.#wait(() => this.#listen(), 0)
    } else this.#wait(() => void this.#look(), this.#options.interval)
  }

  #begin(): void {
    if (this.#closed || this.#up) return
    this.#expected = null
    this.#up = true
    this.#events.up()
    this.#wait(() => void this.#look(), this.#options.interval)
  }

  /** One that was looked for is connected, or dead. */
  #found(id: string): void {
    if (this.#expected?.delete(id) && this.#expected.size === 0) this.#begin()
  }

  /** Connect to an instance, or have it connect. */
  #call(id: string, again = true): void {
    if (this.#calling.has(id) || this.#closed) return
    this.#calling.add(id)
    const path = join(this.#options.folder, id + SUFFIX)
    const socket = connect(path)
    socket.unref()
    socket.once('error', () => {
      this.#calling.delete(id)
      if (this.#closed || this.#streams.has(id)) return
      if (again) setTimeout(() => this.#call(id, false), GRACE).unref()
      else
        void unlink(path)
          .catch(ignore)
          .then(() => this.#dead(id))
    })
    socket.once('connect', () => {
      this.#calling.delete(id)
      socket.removeAllListeners('error')
      socket.on('error', ignore)
      if (this.#closed || this.#streams.has(id)) socket.destroy()
      else this.#connected(socket, id)
    })
  }

  #connected(socket: Socket, id: string): void {
    if (this.id < id) new Stream(socket, this, id, this.#options.most)
    else socket.end(introduction(Record.knock, this.id))
  }

  #dead(id: string): void {
    this.#broken.delete(id)
    if (!this.#closed && !this.#streams.has(id)) this.#events.gone(id)
    this.#found(id)
  }

  #wait(act: () => void, ms: number): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    this.#timer = setTimeout(act, ms)
    this.#timer.unref()
  }
}

/** Socket files of this process. */
const paths = new Set<string>()

function removeAtExit(path: string): void {
  if (paths.size === 0 && !process.listeners('exit').includes(removeAll))
    process.on('exit', removeAll)
  paths.add(path)
}

function removeAll(): void {
  for (const path of paths) {
    try {
      unlinkSync(path)
    } catch {}
  }
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true
}

function away(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'the other instances are not connected yet')
}

function ignore(): void {}
