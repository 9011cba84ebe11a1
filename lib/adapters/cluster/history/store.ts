// The history of one hub, kept by the processes of one machine.

import { PayloadRefused } from '../../../backplane/adapter.ts'
import { newId } from '../../../connection/id.ts'
import { AdapterError } from '../../../errors.ts'
import type {
  HistoryEvents,
  HistoryLimits,
  HistoryStore,
  NewEntry,
  Place,
  Reading,
} from '../../../history/store.ts'
import { LARGEST_PAYLOAD } from '../records.ts'
import { Core } from './core.ts'
import type { Question } from './messages.ts'
import { Transport, type TransportOptions } from './transport.ts'

/** The interval of what is done regularly, in milliseconds; the second one while it leaves. */
const TICK = 200
const LEAVING_TICK = 20
/** How long handing over may take without progress, and in all, in milliseconds. */
const HAND_OVER = 3_000
const MOST_HAND_OVER = 15_000

/** What a history needs to know. */
export interface ClusterHistoryOptions extends TransportOptions {
  /** How long a log without entries is kept, in milliseconds. @default 24 hours */
  readonly remembered?: number
}

/** The history of one hub, kept by the processes of one machine. */
export class ClusterHistory implements HistoryStore {
  readonly local = false
  readonly #options: ClusterHistoryOptions
  readonly #limits: HistoryLimits
  readonly #events: HistoryEvents
  /** The name under which it publishes, also after it was taken for ended. */
  readonly #publisher: string = newId()
  #transport: Transport
  #core: Core
  #timer: NodeJS.Timeout
  #isUp = false
  #isClosed = false
  #left: Promise<void> | null = null

  constructor(options: ClusterHistoryOptions, limits: HistoryLimits, events: HistoryEvents) {
    this.#options = options
    this.#limits = limits
    this.#events = events
    const { transport, core } = this.#open()
    this.#transport = transport
    this.#core = core
    this.#timer = setInterval(() => this.#tick(), TICK).unref()
  }

  /** Names this instance among the others, until they take it for ended. */
  get id(): string {
    return this.#transport.id
  }

  /** Returns whether an instance is known, and has not ended. */
  isAlive(id: string): boolean {
    return this.#core.members.isAlive(id)
  }

  append(log: string, entry: NewEntry): Promise<Place> {
    const refused = this.#refusal(log, entry)
    if (refused) return Promise.reject(refused)
    return new Promise((settle, fail) => {
      if (this.#isClosed) fail(hasClosed())
      else this.#core.append(log, entry, { settle, fail })
    })
  }

  read(log: string, since: Place | null): Promise<Reading> {
    return this.#ask(log, { want: 'read', since })
  }

  async top(log: string): Promise<Place> {
    const { top } = await this.#ask(log, { want: 'top' })
    return top
  }

  async follow(log: string): Promise<void> {
    await this.#ask(log, { want: 'follow' })
  }

  unfollow(log: string): void {
    if (!this.#isClosed) this.#core.unfollow(log)
  }

  async renew(log: string, seen: Place): Promise<void> {
    await this.#ask(log, { want: 'renew', seen })
  }

  /** The part of this instance in a log. */
  roleOf(log: string): 'owner' | 'replica' | 'none' {
    return this.#core.roleOf(log)
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#left ??= this.#leave()
    return this.#left
  }

  #refusal(log: string, { key, payload }: NewEntry): PayloadRefused | null {
    const { length } = payload
    if (length > LARGEST_PAYLOAD) {
      return new PayloadRefused(
        `an entry of ${length} bytes is too large for the history: the limit is ${LARGEST_PAYLOAD} bytes`,
      )
    }
    const { waiting } = this.#core
    const isFull = waiting > 0 && waiting + length > this.#options.most
    // An entry that is known takes no room, and its outcome may be another.
    if (!isFull || this.#core.isKnown(log, key)) return null
    return new PayloadRefused(
      `an entry of ${length} bytes for the history was refused: ${waiting} bytes wait already. Send less, or raise "maxQueued.bytes"`,
    )
  }

  #ask(log: string, question: Question): Promise<Reading> {
    return new Promise((settle, fail) => {
      if (this.#isClosed) fail(hasClosed())
      else this.#core.ask(log, question, { settle, fail })
    })
  }

  #open(): { transport: Transport; core: Core } {
    const isPresent = (): boolean => this.#core === core
    const transport = new Transport(this.#options, {
      found: (ids) => core.start(ids),
      received: (from, messages) => core.receive(from, messages),
      ended: (id) => core.ended(id),
      outcast: () => {
        if (isPresent()) this.#restart()
      },
    })
    const core: Core = new Core({
      id: transport.id,
      publisher: this.#publisher,
      limits: this.#limits,
      remembered: this.#options.remembered,
      now: () => Date.now(),
      random: () => newId().slice(0, 8),
      send: (to, message) => transport.send(to, message),
      isFull: (to) => transport.isFull(to),
      recorded: (log, epoch, entries) => {
        if (!this.#isClosed) this.#events.recorded(log, epoch, entries)
      },
      up: () => {
        if (!this.#isClosed && isPresent()) this.#up()
      },
      missed: (reason) => {
        if (this.#isClosed || !this.#isUp || !isPresent()) return
        this.#down(reason)
        this.#up()
      },
    })
    return { transport, core }
  }

  #up(): void {
    this.#isUp = true
    this.#events.up()
  }

  #down(reason: string): void {
    this.#isUp = false
    this.#events.down(new AdapterError('ERR_KOAWS_BACKPLANE', `history: ${reason}`))
  }

  /** Begins under another id: the others have gone on without this instance. */
  #restart(): void {
    const former = { transport: this.#transport, core: this.#core }
    const { transport, core } = this.#open()
    this.#transport = transport
    this.#core = core
    core.adopt(former.core)
    if (this.#isUp) this.#down('other instances took this one for ended')
    if (this.#isClosed) core.leave()
    void former.transport.close()
  }

  #tick(): void {
    this.#core.tick()
    this.#transport.tick()
  }

  async #leave(): Promise<void> {
    this.#isUp = false
    clearInterval(this.#timer)
    this.#core.leave()
    const end = performance.now() + MOST_HAND_OVER
    let left = this.#core.copies
    let deadline = performance.now() + HAND_OVER
    while (!(this.#core.isDone && this.#transport.isDrained)) {
      await pause(LEAVING_TICK)
      this.#tick()
      const { copies } = this.#core
      if (copies < left) deadline = performance.now() + HAND_OVER
      left = copies
      if (performance.now() > Math.min(deadline, end)) break
    }
    this.#core.fail(hasClosed())
    await this.#transport.close()
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function hasClosed(): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', 'the history is closed')
}
