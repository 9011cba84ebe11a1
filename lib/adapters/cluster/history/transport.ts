// Carries the messages of the history between the instances of one machine.

import { rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { AdapterEvents } from '../../../backplane/adapter.ts'
import { newId } from '../../../connection/id.ts'
import { debugBackplane, messageOf } from '../../../debug.ts'
import { readIds } from '../folder.ts'
import { ClusterLink } from '../link.ts'
import { decodeFrame, encodeFrame, FrameKind } from './frames.ts'
import type { Message } from './messages.ts'
import { isRunning } from './process.ts'
import { Session, type SessionFrame, type SessionOwner } from './session.ts'

/** The folder of the history within that of the application. Another version of the messages gets another name. */
const FOLDER = 'h1'
/** The length of an id: with the folder, a path is as long as that of a hub. */
const ID = 17
/** Ended instances that are remembered. */
const MOST_ENDED = 1_000
/** How long the end of an instance is doubted while its process runs, in milliseconds. */
const DOUBT = 10_000
/** How long an acknowledgment waits for a message that carries it, in milliseconds. */
const ACKNOWLEDGE = 20
const NONE: Buffer = Buffer.alloc(0)

/** What a transport needs to know. */
export interface TransportOptions {
  /** The folder of the application. */
  readonly folder: string
  /** The folder within it: instances in others are not met. @default that of the history */
  readonly inner?: string
  /** The interval of looks at the folder, in milliseconds. */
  readonly interval: number
  /** The size of what may wait for one other instance, in bytes. */
  readonly most: number
  /** How long the end of an instance is doubted while its process runs, in milliseconds. @default 10_000 */
  readonly doubt?: number
}

/** The callbacks of a transport. */
export interface TransportEvents {
  /** The others in the folder, at a time when they find this instance there. */
  found(ids: readonly string[]): void
  received(from: string, messages: readonly Message[]): void
  /** An instance has ended for certain. */
  ended(id: string): void
  /** Another instance takes this one for ended. */
  outcast(): void
}

/**
 * Carries messages between instances over a link of its own, so that large copies never delay the
 * messages of the hub. Between two living instances each message arrives, once and in order.
 */
export class Transport implements SessionOwner {
  readonly id: string = newId().slice(0, ID)
  readonly #folder: string
  readonly #options: TransportOptions
  readonly #events: TransportEvents
  readonly #link: ClusterLink
  readonly #sessions = new Map<string, Session>()
  readonly #ended = new Set<string>()
  /** Instances that have said that they end. */
  readonly #left = new Set<string>()
  /** The processes of other instances. */
  readonly #pids = new Map<string, number>()
  /** Unreachable instances with a running process, and until when they may come back: monotonic. */
  readonly #doubts = new Map<string, number>()
  /** Instances that this one has spoken to, and that have said nothing yet. */
  readonly #silent = new Set<string>()
  #acknowledging: NodeJS.Timeout | null = null
  #isStarted = false
  #isFlushing = false
  #isClosed = false

  constructor(options: TransportOptions, events: TransportEvents) {
    this.#options = options
    this.#events = events
    const { interval, most, inner = FOLDER } = options
    this.#folder = join(options.folder, inner)
    const linkEvents: AdapterEvents = {
      received: (payload) => this.#arrived(payload),
      up: () => void this.#up(),
      down: () => {},
      gone: (id) => this.#unreachable(id),
    }
    // Frames are bounded here. The link only has to take a window of them for each instance.
    const bound = Math.max(most, 16 * 1024 * 1024)
    this.#link = new ClusterLink(this.id, linkEvents, {
      folder: this.#folder,
      interval,
      most: bound,
    })
    this.#link.subscribe([topicOf(this.id)]).catch(ignore)
  }

  /** Whether the others have got everything. */
  get isDrained(): boolean {
    return [...this.#sessions.values()].every(({ isDrained }) => isDrained)
  }

  send(to: string, message: Message): void {
    if (this.#isClosed || this.#ended.has(to)) return
    if (!this.#sessions.has(to)) this.#silent.add(to)
    this.#session(to).send(message)
    this.#flushSoon()
  }

  isFull(to: string): boolean {
    return this.#sessions.get(to)?.isFull ?? false
  }

  /** Called several times in a second. */
  tick(): void {
    if (this.#isClosed) return
    for (const session of this.#sessions.values()) session.tick()
    if (this.#silent.size > 0) void this.#lookForSilent()
    for (const [id, until] of this.#doubts) {
      if (performance.now() >= until || !this.#isRunning(id)) this.#gone(id)
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#flush()
    if (this.#acknowledging) clearTimeout(this.#acknowledging)
    for (const session of this.#sessions.values()) {
      this.write(session, { kind: FrameKind.bye, number: 0, got: 0, body: NONE })
    }
    this.#isClosed = true
    await this.#link.close()
    await rmdir(dirname(this.#folder)).catch(ignore) // the last one
  }

  // ---- SessionOwner

  write(session: Session, frame: SessionFrame): void {
    const bytes = encodeFrame({ ...frame, from: this.id, pid: process.pid })
    this.#link.publish([topicOf(session.peer)], bytes).then(
      (count) => {
        if (count === 0) session.isBroken = true
      },
      () => {
        session.isBroken = true
      },
    )
  }

  received(session: Session, messages: readonly Message[]): void {
    if (!this.#isClosed) this.#events.received(session.peer, messages)
  }

  // ---- the rest

  /** The link is connected, or connected again. */
  async #up(): Promise<void> {
    for (const session of this.#sessions.values()) session.repeat()
    if (this.#isStarted) return
    this.#isStarted = true
    try {
      const ids = await readIds(this.#folder)
      if (!this.#isClosed) this.#events.found(ids.filter((id) => id !== this.id))
    } catch (error) {
      debugBackplane('reading the folder %s failed: %s', this.#folder, messageOf(error))
      this.#isStarted = false
      setTimeout(() => void this.#up(), this.#options.interval).unref()
    }
  }

  /** Finds instances that ended before they were reached: another instance has removed their file. */
  async #lookForSilent(): Promise<void> {
    const silent = [...this.#silent]
    const there = await readIds(this.#folder).catch(() => null)
    if (!there || this.#isClosed) return
    for (const id of silent) if (this.#silent.has(id) && !there.includes(id)) this.#gone(id)
  }

  #arrived(payload: Buffer): void {
    const frame = decodeFrame(payload)
    if (!frame || this.#isClosed) return
    const { from, kind, number } = frame
    if (kind === FrameKind.ended) {
      this.#events.outcast()
      return
    }
    if (this.#ended.has(from)) {
      this.#tellEnded(from)
      return
    }
    this.#silent.delete(from)
    this.#pids.set(from, frame.pid)
    if (kind === FrameKind.bye) {
      this.#left.add(from)
      return
    }
    // The first frame of a session has the number 1.
    if (!this.#sessions.has(from) && number !== 1) return
    if (this.#doubts.delete(from)) this.#session(from).repeat()
    try {
      this.#session(from).arrived(frame)
    } catch (error) {
      debugBackplane('%s sent malformed messages: %s', from, messageOf(error))
    }
    this.#flushSoon()
  }

  /**
   * Nothing listens on the socket of an instance, or its file was removed. Other software may have removed
   * the file of a running process, which then makes another one and comes back.
   */
  #unreachable(id: string): void {
    if (this.#isClosed || this.#ended.has(id) || this.#doubts.has(id)) return
    const { doubt = DOUBT } = this.#options
    if (doubt === 0 || this.#left.has(id) || !this.#isRunning(id)) this.#gone(id)
    else this.#doubts.set(id, performance.now() + doubt)
  }

  #isRunning(id: string): boolean {
    return isRunning(this.#pids.get(id) ?? 0)
  }

  #gone(id: string): void {
    if (this.#isClosed || this.#ended.has(id)) return
    this.#doubts.delete(id)
    this.#pids.delete(id)
    this.#left.delete(id)
    this.#ended.add(id)
    for (const first of this.#ended) {
      if (this.#ended.size <= MOST_ENDED) break
      this.#ended.delete(first)
    }
    this.#sessions.delete(id)
    this.#silent.delete(id)
    this.#events.ended(id)
  }

  #tellEnded(id: string): void {
    const about = { from: this.id, pid: process.pid }
    const frame = { kind: FrameKind.ended, ...about, number: 0, got: 0, body: NONE }
    this.#link.publish([topicOf(id)], encodeFrame(frame)).catch(ignore)
  }

  #session(peer: string): Session {
    let session = this.#sessions.get(peer)
    if (!session) {
      session = new Session(peer, this, this.#options.most)
      this.#sessions.set(peer, session)
    }
    return session
  }

  /** Messages of one turn share frames. */
  #flushSoon(): void {
    if (this.#isFlushing) return
    this.#isFlushing = true
    setImmediate(() => {
      this.#isFlushing = false
      if (!this.#isClosed) this.#flush()
    })
  }

  #flush(): void {
    let owes = false
    for (const session of this.#sessions.values()) {
      session.flush()
      owes ||= session.owes
    }
    if (owes) this.#acknowledging ??= setTimeout(() => this.#acknowledge(), ACKNOWLEDGE).unref()
  }

  #acknowledge(): void {
    this.#acknowledging = null
    for (const session of this.#sessions.values()) if (session.owes) session.acknowledge()
  }
}

/** The topic of one instance. */
function topicOf(id: string): string {
  return `instance:${id}`
}

function ignore(): void {}
