// The link of one hub: its socket in the folder, and one stream to each other instance.

import { rmdir } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { AdapterEvents, AdapterLink } from '../../backplane/adapter.ts'
import { debugBackplane, messageOf } from '../../debug.ts'
import { toError } from '../../errors.ts'
import { type Caller, Calls } from './calls.ts'
import { linkError, notConnected, tooFew } from './errors.ts'
import { readIds, socketPath } from './folder.ts'
import { Headcount } from './headcount.ts'
import { publishOn } from './publish.ts'
import { SocketFile } from './socket-file.ts'
import { Stream, type StreamOwner } from './stream.ts'

/** How long to wait for the instances that are there already, and before listening again: in milliseconds. */
const WAIT = 1_000
/** How long an instance may take nothing while something waits for it, in milliseconds. */
const STALL = 5_000
/** The limit of incoming streams that are not identified yet. Further streams are closed, and try again. */
const MOST_OPENING = 256

/** What a link needs to know. */
export interface ClusterLinkOptions {
  readonly folder: string
  /** How many instances there are to be, this one included; undefined where that is not known. */
  readonly expected?: number | undefined
  /** How often the folder is looked at, in milliseconds. */
  readonly interval: number
  /** Bytes that may wait for one other instance. */
  readonly most: number
  /** How long one may take nothing while something waits for it, in milliseconds. @default 5_000 */
  readonly patience?: number
}

/** Topics that are subscribed in one turn. */
interface Batch {
  readonly topics: string[]
  readonly done: Promise<void>
}

/**
 * The link of one hub to those of the same machine. It listens on a socket of its own in the folder of
 * the application, and has one stream to each other instance: of two, the one with the smaller id makes
 * it, and the other knocks.
 */
export class ClusterLink implements AdapterLink, StreamOwner, Caller {
  readonly id: string
  readonly topics: Set<string> = new Set()
  readonly #options: ClusterLinkOptions
  readonly #events: AdapterEvents
  readonly #file: SocketFile
  readonly #headcount: Headcount | null
  readonly #streams = new Map<string, Stream>()
  /** Streams that wait for the greeting of the other side. */
  readonly #opening = new Set<Stream>()
  /** Instances to which a stream broke off: they may be alive. */
  readonly #broken = new Set<string>()
  readonly #calls = new Calls(this)
  /** Instances that were found at the start and do not know yet what is wanted here; null before and after. */
  #expected: Set<string> | null = null
  #subscribing: Batch | null = null
  /** Subscriptions that others have not confirmed. */
  #unconfirmed = 0
  #timer: NodeJS.Timeout | undefined
  #up = false
  #closed = false

  constructor(id: string, events: AdapterEvents, options: ClusterLinkOptions) {
    this.id = id
    this.#events = events
    this.#options = options
    this.#file = new SocketFile(socketPath(options.folder, id), (socket) => this.open(socket, null))
    const { expected, folder, patience = STALL } = options
    this.#headcount = expected
      ? new Headcount(expected, patience, (there) =>
          this.#events.impaired?.(there === null ? null : tooFew(there, expected, folder)),
        )
      : null
    const number = expected ?? 'unknown'
    debugBackplane('instance %s: folder %s, expected instances: %s', id, folder, number)
    process.nextTick(() => this.#listen())
  }

  get folder(): string {
    return this.#options.folder
  }

  get expected(): number | undefined {
    return this.#options.expected
  }

  subscribe(topics: readonly string[]): Promise<void> {
    for (const topic of topics) this.topics.add(topic)
    this.#subscribing ??= newBatch((batch) => this.#subscribe(batch))
    for (const topic of topics) this.#subscribing.topics.push(topic)
    return this.#up ? this.#subscribing.done : Promise.reject(notConnected(this.folder))
  }

  unsubscribe(topics: readonly string[]): void {
    const gone = topics.filter((topic) => this.topics.delete(topic))
    if (gone.length > 0) for (const stream of this.#all()) stream.unsubscribe(gone)
  }

  async publish(topics: readonly string[], payload: Buffer): Promise<number> {
    if (!this.#up) throw notConnected(this.folder)
    return publishOn(this.#streams.values(), topics, payload, this.folder)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#up = false
    clearTimeout(this.#timer)
    this.#calls.stop()
    this.#headcount?.stop()
    this.#file.stop()
    await Promise.all(this.#all().map((stream) => stream.bye()))
    await this.#file.remove()
    await rmdir(this.#options.folder).catch(ignore) // the last one
  }

  // ---- StreamOwner

  ready(stream: Stream): void {
    const { peer } = stream
    this.#opening.delete(stream)
    this.#calls.connected(peer)
    if (this.#closed || peer === this.id) {
      stream.destroy()
      return
    }
    this.#streams.get(peer)?.destroy()
    this.#streams.set(peer, stream)
    this.#count()
  }

  held(stream: Stream): void {
    const { peer } = stream
    if (this.#closed || this.#streams.get(peer) !== stream) return
    this.#found(peer)
    if (this.#broken.delete(peer) && this.#up) {
      this.#events.down(linkError(`the stream to ${peer} was interrupted`, this.folder))
      this.#events.up()
      this.#headcount?.repeat()
    }
  }

  knocked(id: string): void {
    if (this.id < id && !this.#streams.has(id)) this.#calls.call(id)
  }

  received(payload: Buffer): void {
    if (!this.#closed) this.#events.received(payload)
  }

  ended(stream: Stream, bye: boolean): void {
    const { peer, why, readyAt } = stream
    if (why !== '') debugBackplane('closed the stream to %s: %s', peer || 'an unknown peer', why)
    if (this.#opening.delete(stream)) {
      if (peer !== '' && !this.#closed && !this.#streams.has(peer)) this.#calls.failed(peer, 0)
      else this.#calls.end(peer)
    }
    if (peer === '' || this.#streams.get(peer) !== stream) return
    this.#streams.delete(peer)
    if (this.#closed) return
    this.#count()
    if (bye) {
      this.#gone(peer)
      return
    }
    this.#broken.add(peer)
    this.#calls.failed(peer, performance.now() - (readyAt ?? Infinity))
  }

  // ---- Caller

  get isClosed(): boolean {
    return this.#closed
  }

  needs(id: string): boolean {
    return !this.#closed && !this.#streams.has(id)
  }

  open(socket: Socket, peer: string | null): void {
    if (peer === null && this.#opening.size >= MOST_OPENING) {
      socket.destroy()
      return
    }
    const { most, patience = STALL } = this.#options
    this.#opening.add(new Stream(socket, this, peer, { most, patience }))
  }

  dead(id: string): void {
    if (!this.#closed && !this.#streams.has(id)) this.#gone(id) // else a loss is still to be told
    this.#found(id)
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

  #listen(): void {
    if (this.#closed) return
    const { path } = this.#file
    this.#file.listen(
      () => void this.#look(),
      (error) => {
        debugBackplane('listening on %s failed: %s', path, messageOf(error))
        this.#events.failed?.(linkError(`listening failed: ${toError(error).message}`, this.folder))
        this.#wait(() => this.#listen(), WAIT)
      },
    )
  }

  /** Connect to those in the folder, and look again later. */
  async #look(): Promise<void> {
    let others: string[]
    try {
      others = await readIds(this.folder)
    } catch (error) {
      if (this.#closed) return
      debugBackplane('reading the folder %s failed: %s', this.folder, messageOf(error))
      const why = `reading the folder failed: ${toError(error).message}`
      this.#events.failed?.(linkError(why, this.folder))
      this.#wait(() => void this.#look(), this.#options.interval)
      return
    }
    if (this.#closed) return
    others = others.filter((id) => id !== this.id && !this.#streams.has(id))
    for (const id of this.#broken) if (!others.includes(id)) this.dead(id)
    for (const id of others) this.#calls.call(id)
    if (!this.#up) {
      const ready = [...this.#streams.values()].filter(({ isHeld }) => !isHeld)
      this.#expected = new Set([...others, ...ready.map(({ peer }) => peer)])
      this.#wait(() => this.#begin(), WAIT)
      this.#beginWhenHeld()
      return
    }
    if (!this.#file.isThere) {
      // The file was removed: instances that start now would not find this one.
      this.#file.stop()
      this.#wait(() => this.#listen(), 0)
    } else this.#wait(() => void this.#look(), this.#options.interval)
  }

  #begin(): void {
    if (this.#closed || this.#up) return
    this.#expected = null
    this.#up = true
    this.#events.up()
    this.#count()
    this.#wait(() => void this.#look(), this.#options.interval)
  }

  /** An instance that was looked for knows the topics of this one, or is dead. */
  #found(id: string): void {
    if (this.#expected?.delete(id)) this.#beginWhenHeld()
  }

  #beginWhenHeld(): void {
    if (this.#expected?.size === 0 && this.#unconfirmed === 0) this.#begin()
  }

  #count(): void {
    if (this.#up) this.#headcount?.count(this.#streams.size + 1)
  }

  #gone(id: string): void {
    this.#broken.delete(id)
    this.#calls.forget(id)
    this.#events.gone(id)
  }

  #wait(act: () => void, ms: number): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    this.#timer = setTimeout(act, ms)
    this.#timer.unref()
  }
}

function newBatch(subscribe: (topics: readonly string[]) => Promise<void>): Batch {
  const topics: string[] = []
  return { topics, done: Promise.resolve().then(() => subscribe(topics)) }
}

function ignore(): void {}
