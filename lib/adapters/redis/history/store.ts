// The history of one hub in Redis: records and reads logs while the link is up.
import { performance } from 'node:perf_hooks'
import { newId } from '../../../connection/id.ts'
import { debugBackplane } from '../../../debug.ts'
import type { AdapterError } from '../../../errors.ts'
import { isNowhere } from '../../../history/place.ts'
import {
  type HistoryEvents,
  type HistoryLimits,
  type HistoryStore,
  type NewEntry,
  type Place,
  REMEMBERED,
  type Reading,
} from '../../../history/store.ts'
import type { Word } from '../connection.ts'
import { adapterError, textOf } from '../replies.ts'
import { Appends, type Waiting } from './appends.ts'
import { broken, endedBy, reasonOf, refusal, unknownOutcome } from './failures.ts'
import { namesOf, topicOfLog } from './keys.ts'
import { linesOf, publishedOf, readingOf, readReplyOf, recordedOf } from './replies.ts'
import { APPEND, READ, RENEW } from './scripts.ts'
import { type HistoryHost, HistorySession, type HistorySessionOwner } from './session.ts'

/** The wait before the first and before later attempts, in milliseconds. */
const FIRST = 50
const LONGEST = 1_000
/** A session that ends sooner counts as a failed attempt, in milliseconds. */
const STABLE = 1_000

/** The most entries, and about the most bytes, that one script records: Redis does nothing else meanwhile. */
const MOST = 64
const LARGEST = 256 * 1024

/** An entry that leaves at the end of the turn, and the number of the entry before it that Redis has not confirmed. */
interface Sending {
  readonly waiting: Waiting
  readonly after: number
}

/** What a store needs of the hub's link. */
export interface StoreHost extends HistoryHost {
  subscribe(topic: string): Promise<void>
  unsubscribe(topic: string): void
  /** The store has ended. */
  closed(): void
}

/** The history of one hub in Redis. It works while the link is up, and has its own reasons to be down. */
export class RedisHistory implements HistoryStore, HistorySessionOwner {
  readonly local = false
  readonly #host: StoreHost
  /** The words of APPEND that are the same for all entries. */
  readonly #limits: readonly string[]
  readonly #ttl: string
  /** How long Redis keeps the meta of a log. */
  readonly #expiry: string
  readonly #events: HistoryEvents
  readonly #appends: Appends
  /** Names this store in the meta of its logs. */
  readonly #origin = newId().slice(0, 8)
  readonly #followed = new Set<string>()
  /** The entries of this turn. */
  #batch: Sending[] = []
  #session: HistorySession | null = null
  #isLinkUp = false
  #isUp = false
  #isClosed = false
  #upAt = 0
  #delay = FIRST
  #timer: NodeJS.Timeout | undefined
  /** The reason that the hub knows. */
  #told = ''

  constructor(host: StoreHost, limits: HistoryLimits, events: HistoryEvents) {
    const { messages, bytes, maxTotal } = limits
    const ttl = Math.ceil(limits.ttl)
    this.#host = host
    this.#events = events
    this.#ttl = String(ttl)
    this.#expiry = String(Math.max(REMEMBERED, 2 * ttl))
    const most = [String(messages), String(Math.min(bytes, maxTotal))]
    this.#limits = [this.#origin, ...most, this.#ttl, this.#expiry]
    this.#appends = new Appends((waiting, after) => this.#send({ waiting, after }))
  }

  append(log: string, entry: NewEntry): Promise<Place> {
    return this.#isUp ? this.#appends.add(log, entry) : Promise.reject(away())
  }

  async read(log: string, since: Place | null): Promise<Reading> {
    const { epoch, offset, key } = since ?? { epoch: '*all', offset: 0, key: '' }
    const words = [epoch, String(offset), key, this.#ttl, this.#expiry]
    const [reply, judgedFrom] = await this.#run((session) =>
      Promise.all([
        session.runOn(READ, log, words),
        // After the read: data that are lost after it do not matter.
        since && isNowhere(since) ? session.judgedFrom(log) : 0,
      ]),
    )
    return readingOf(readReplyOf(reply), since, Number(this.#ttl), judgedFrom)
  }

  async top(log: string): Promise<Place> {
    const words = ['*top', '0', '', this.#ttl, this.#expiry]
    return readReplyOf(await this.#run((session) => session.runOn(READ, log, words))).top
  }

  async follow(log: string): Promise<void> {
    this.#followed.add(log)
    await this.#host.subscribe(topicOfLog(log))
    if (!this.#isUp) throw away()
  }

  unfollow(log: string): void {
    if (this.#followed.delete(log)) this.#host.unsubscribe(topicOfLog(log))
  }

  async renew(log: string, { epoch, offset, key }: Place): Promise<void> {
    const words = [epoch, String(offset), key, newId().slice(0, 8), this.#expiry]
    await this.#run((session) => session.runOn(RENEW, log, words))
  }

  /** Sends what waits for the end of the turn, before a message that is not recorded: the order stays. */
  flush(): void {
    if (this.#batch.length === 0) return
    const all = this.#batch
    this.#batch = []
    const session = this.#session
    if (!session) return // it has ended, and rejected them
    let batch: Sending[] = []
    let bytes = 0
    for (const sending of all) {
      batch.push(sending)
      bytes += sending.waiting.entry.payload.length
      if (session.takesMany && batch.length < MOST && bytes < LARGEST) continue
      void this.#record(session, batch)
      batch = []
      bytes = 0
    }
    if (batch.length > 0) void this.#record(session, batch)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stop(away())
    for (const log of [...this.#followed]) this.unfollow(log)
    this.#host.closed()
  }

  // ---- called by the link

  received(log: string, data: Buffer): void {
    if (this.#isClosed || !this.#followed.has(log)) return
    const published = publishedOf(data)
    if (published) this.#events.recorded(log, published.epoch, [published.entry])
    else debugBackplane('the channel of %s has a payload that koaws did not publish', log)
  }

  /** The link is up: subscriptions hold, and commands can be run. */
  linkUp(): void {
    if (this.#isClosed) return
    this.#isLinkUp = true
    this.#retry(0)
  }

  linkDown(reason: Error): void {
    if (this.#isClosed) return
    this.#isLinkUp = false
    this.#down(adapterError('Redis', reason))
  }

  // ---- HistorySessionOwner

  lost(session: HistorySession, error: unknown): void {
    if (session !== this.#session || this.#isClosed) return
    if (this.#isUp && performance.now() - this.#upAt > STABLE) this.#delay = FIRST
    const reason = reasonOf(error, this.#host.masters !== undefined)
    this.#down(reason)
    this.#retry()
    // One server has all keys and all channels: what ends its connection concerns the link, too.
    if (endedBy(error) === 'link' && !this.#host.masters) this.#host.fail(reason)
  }

  // ---- private

  #down(reason: AdapterError): void {
    const isNews = this.#isUp || reason.message !== this.#told
    debugBackplane('history: %s', reason.message)
    this.#stop(reason)
    this.#told = reason.message
    if (isNews) this.#events.down(reason)
  }

  #stop(reason: AdapterError): void {
    clearTimeout(this.#timer)
    this.#session?.end()
    this.#session = null
    this.#isUp = false
    this.#batch = []
    this.#appends.fail(unknownOutcome(reason), performance.now() - this.#upAt)
  }

  #retry(delay: number = this.#delay * (1 + Math.random() / 4)): void {
    clearTimeout(this.#timer)
    if (!this.#isLinkUp) return
    this.#timer = setTimeout(() => void this.#attempt(), delay)
    this.#timer.unref()
  }

  async #attempt(): Promise<void> {
    const session = new HistorySession(this, this.#host)
    this.#session?.end()
    this.#session = session
    this.#delay = Math.min(LONGEST, this.#delay * 2)
    try {
      await session.open()
    } catch (error) {
      this.lost(session, error)
      return
    }
    if (session !== this.#session) return
    this.#isUp = true
    this.#upAt = performance.now()
    this.#told = ''
    this.#events.up()
  }

  /** Collects the entries of a turn. */
  #send(sending: Sending): void {
    if (this.#batch.push(sending) === 1) queueMicrotask(() => this.flush())
  }

  async #record(session: HistorySession, batch: readonly Sending[]): Promise<void> {
    const keys: string[] = []
    const words: Word[] = [...this.#limits, '']
    const payloads: Buffer[] = []
    for (const { waiting, after } of batch) {
      const { entry, number } = waiting
      const { meta, list, channel } = namesOf(this.#host.prefix, waiting.log)
      keys.push(meta, list)
      const size = String(entry.payload.length)
      words.push(channel, entry.key, String(entry.count), size, String(number), String(after))
      payloads.push(entry.payload)
    }
    // In one piece: a client of Redis writes each buffer by itself.
    words[this.#limits.length] =
      payloads.length === 1 ? (payloads[0] as Buffer) : Buffer.concat(payloads)
    try {
      const lines = linesOf(await session.run(APPEND, keys, words), batch.length)
      if (session !== this.#session) return
      for (const [i, { waiting }] of batch.entries()) this.#answered(session, waiting, lines[i])
    } catch (error) {
      if (session !== this.#session) return
      const [first, another] = batch
      if (endedBy(error) !== 'call') session.lose(error)
      // One of them is refused. The entries before it are recorded, and are recognized.
      else if (another) for (const one of batch) void this.#record(session, [one])
      else if (first) {
        const why = `Redis did not record an entry: ${textOf(error)}`
        this.#appends.refused(first.waiting, refusal(why, error))
      }
    }
  }

  #answered(session: HistorySession, waiting: Waiting, line = ''): void {
    if (line === '') {
      this.#appends.again(waiting)
      return
    }
    const { place, error } = recordedOf(line)
    this.#appends.recorded(waiting, place)
    // Recorded, but not published: the instances that follow the log look at it after `up`.
    if (error !== '') session.lose(refusal(`Redis refuses a publish: ${error}`))
  }

  async #run<T>(act: (session: HistorySession) => Promise<T>): Promise<T> {
    const session = this.#session
    if (!session || !this.#isUp) throw away()
    try {
      return await act(session)
    } catch (error) {
      if (endedBy(error) !== 'call') session.lose(error)
      throw adapterError('Redis did not answer for the history', error)
    }
  }
}

function away(): AdapterError {
  return broken('Redis is not connected')
}
