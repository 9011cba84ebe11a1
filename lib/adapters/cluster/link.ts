import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { readdir, rmdir, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { AdapterEvents, AdapterLink } from '../../backplane/adapter.ts'
import { debugBackplane, messageOf } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'
import { assertPrivate, makeFolder } from './folder.ts'
import { introduction, LARGEST_PAYLOAD, Record } from './records.ts'
import { Stream, type StreamOwner } from './stream.ts'

const SUFFIX = '.sock'
/** How long to wait for those who are there already, for an answer to a knock, and before listening again: in milliseconds. */
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
  /** Streams whose other side has not said all that it has to. */
  readonly #opening = new Set<Stream>()
  /** Instances to which a stream broke off: they may be alive. */
  readonly #broken = new Set<string>()
  /** Instances that are being connected to. */
  readonly #calling = new Set<string>()
  /** Instances that were found at the start and do not know yet what is wanted here; null before and after. */
  #expected: Set<string> | null = null
  #server: Server | null = null
  #subscribing: { topics: string[]; done: Promise<void> } | null = null
  /** Subscriptions that others have not confirmed. */
  #unconfirmed = 0
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
    if (!this.#subscribing) {
      const batch: string[] = []
      const done = Promise.resolve().then(() => this.#subscribe(batch))
      this.#subscribing = { topics: batch, done }
    }
    this.#subscribing.topics.push(...topics)
    return this.#up ? this.#subscribing.done : Promise.reject(away())
  }

  unsubscribe(topics: readonly string[]): void {
    const gone = topics.filter((topic) => this.topics.delete(topic))
    if (gone.length > 0) for (const stream of this.#all()) stream.unsubscribe(gone)
  }

  async publish(topics: readonly string[], payload: Buffer): Promise<number> {
    if (!this.#up) throw away()
    if (payload.length > LARGEST_PAYLOAD) throw tooLarge(payload.length)
    let written = 0
    for (const stream of this.#streams.values()) if (stream.publish(topics, payload)) written++
    return written
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#up = false
    clearTimeout(this.#timer)
    this.#server?.close()
    await Promise.all(this.#all().map((stream) => stream.bye()))
    paths.delete(this.#path)
    await unlink(this.#path).catch(ignore)
    await rmdir(this.#options.folder).catch(ignore) // the last one
  }

  // ---- StreamOwner

  ready(stream: Stream): void {
    const { peer } = stream
    this.#opening.delete(stream)
    this.#calling.delete(peer)
    if (this.#closed || peer === this.id) {
      stream.destroy()
      return
    }
    this.#streams.get(peer)?.destroy()
    this.#streams.set(peer, stream)
  }

  held(stream: Stream): void {
    const { peer } = stream
    if (this.#closed || this.#streams.get(peer) !== stream) return
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
    if (this.#opening.delete(stream)) this.#calling.delete(peer)
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
    this.#unconfirmed++
    await Promise.all(this.#all().map((stream) => stream.subscribe(wanted)))
    this.#unconfirmed--
    this.#beginWhenHeld()
  }

  #all(): Stream[] {
    return [...this.#streams.values(), ...this.#opening]
  }

  #open(socket: Socket, peer: string | null): void {
    this.#opening.add(new Stream(socket, this, peer, this.#options.most))
  }

  #listen(): void {
    if (this.#closed) return
    const server = createServer((socket) => this.#open(socket, null))
    this.#server = server
    const failed = (error: unknown): void => {
      debugBackplane('listening on %s failed: %s', this.#path, messageOf(error))
      server.close()
      this.#wait(() => this.#listen(), PATIENCE)
    }
    try {
      makeFolder(this.#options.folder)
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
    const names = await this.#names()
    if (this.#closed) return
    if (!names) {
      this.#wait(() => void this.#look(), this.#options.interval)
      return
    }
    const others = names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter((id) => id !== this.id && !this.#streams.has(id))
    for (const id of this.#broken) if (!others.includes(id)) this.#dead(id)
    for (const id of others) this.#call(id)
    if (!this.#up) {
      const ready = [...this.#streams.values()].filter(({ isHeld }) => !isHeld)
      this.#expected = new Set([...others, ...ready.map(({ peer }) => peer)])
      this.#wait(() => this.#begin(), PATIENCE)
      this.#beginWhenHeld()
      return
    }
    if (!isThere(this.#path)) {
      // Somebody has tidied up: those who come now would not find this instance.
      this.#server?.close()
      this.#wait(() => this.#listen(), 0)
    } else this.#wait(() => void this.#look(), this.#options.interval)
  }

  /** What is in the folder; null where that cannot be told. */
  async #names(): Promise<string[] | null> {
    try {
      assertPrivate(this.#options.folder)
      return await readdir(this.#options.folder)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      debugBackplane('looking into %s failed: %s', this.#options.folder, messageOf(error))
      return null
    }
  }

  #begin(): void {
    if (this.#closed || this.#up) return
    this.#expected = null
    this.#up = true
    this.#events.up()
    this.#wait(() => void this.#look(), this.#options.interval)
  }

  /** One that was looked for knows what is wanted here, or is dead. */
  #found(id: string): void {
    if (this.#expected?.delete(id)) this.#beginWhenHeld()
  }

  #beginWhenHeld(): void {
    if (this.#expected?.size === 0 && this.#unconfirmed === 0) this.#begin()
  }

  /** Connect to an instance, or have it connect. */
  #call(id: string, again = true): void {
    if (this.#calling.has(id) || this.#closed) return
    this.#calling.add(id)
    const path = join(this.#options.folder, id + SUFFIX)
    const socket = connect(path)
    socket.unref()
    socket.once('error', (error) => {
      this.#calling.delete(id)
      if (this.#closed || this.#streams.has(id)) return
      const code = codeOf(error)
      // Whatever else it is, such as no files left here, says nothing about the other side.
      if (code !== 'ECONNREFUSED' && code !== 'ENOENT') return
      if (again) setTimeout(() => this.#call(id, false), GRACE).unref()
      else
        void unlink(path)
          .catch(ignore)
          .then(() => this.#dead(id))
    })
    socket.once('connect', () => {
      socket.removeAllListeners('error')
      socket.on('error', ignore)
      if (this.#closed || this.#streams.has(id)) {
        this.#calling.delete(id)
        socket.destroy()
      } else if (this.id < id) this.#open(socket, id)
      else this.#knock(socket, id)
    })
  }

  #knock(socket: Socket, id: string): void {
    socket.end(introduction(Record.knock, this.id))
    socket.resume()
    socket.setTimeout(PATIENCE, () => socket.destroy()) // the other side may stand still
    socket.once('close', () => this.#calling.delete(id))
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
  try {
    return lstatSync(path).isSocket()
  } catch (error) {
    return codeOf(error) !== 'ENOENT' // that cannot be told
  }
}

function away(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'the other instances are not connected yet')
}

function tooLarge(length: number): AdapterError {
  return new AdapterError(
    'ERR_KOAWS_BACKPLANE_REFUSED',
    `a payload of ${length} bytes is too large for a stream between processes`,
  )
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function ignore(): void {}
