// The publishing side: numbers entries, and sends them until the owner has recorded them.

import type { NewEntry, Place } from '../../../history/store.ts'
import type { Context } from './context.ts'
import type { Log, Publication, Waiter } from './log.ts'
import type { Done, Reset } from './messages.ts'

/** When an entry is sent again without another reason, in milliseconds. */
const AGAIN = 1_000
/** The largest size of what is sent again at once, in bytes: the owner needs the first ones first. */
const MOST_AGAIN = 1024 * 1024
/** How long recorded entries are known, in milliseconds, and how many: the hub may record them again. */
const RECENT = 10_000
const MOST_RECENT = 16_384

/**
 * The publishing side. It numbers the entries of each log and epoch from 1, and the owner takes them in
 * this order and once. Each is kept until the owner has said its place.
 */
export class Publishers {
  readonly #context: Context
  /** The size of all that is kept, in bytes. */
  bytes = 0
  /** The places of entries that were recorded lately, and a while ago. */
  #recent = new Map<string, Place>()
  #former = new Map<string, Place>()
  #turned = 0

  constructor(context: Context) {
    this.#context = context
  }

  /** Whether an entry is recorded, or waits already. */
  isKnown(log: Log, key: string): boolean {
    return this.#recorded(log, key) !== null || log.outKeys.has(key)
  }

  append(log: Log, entry: NewEntry, waiter: Waiter<Place>): void {
    const { key } = entry
    const recorded = this.#recorded(log, key)
    if (recorded) {
      waiter.settle(recorded)
      return
    }
    const same = log.outKeys.get(key)
    if (same) {
      same.waiters.push(waiter)
      return
    }
    const publication = { n: ++log.n, entry, sent: 0, waiters: [waiter] }
    log.out.push(publication)
    log.outKeys.set(key, publication)
    this.bytes += entry.payload.length
    this.#context.unsettled.add(log)
    this.#send(log, publication)
  }

  /** Sends everything again: there is another owner, or another epoch. */
  kick(log: Log): void {
    for (const publication of log.out) this.#send(log, publication)
  }

  /** Forgets the places of entries that were recorded long ago. */
  forget(): void {
    if (this.#context.environment.now() - this.#turned >= RECENT) this.#turn()
  }

  /** Sends again what waits for long. */
  tick(log: Log): void {
    const before = this.#context.environment.now() - AGAIN
    let bytes = 0
    for (const publication of log.out) {
      if (publication.sent > before || bytes > MOST_AGAIN) break
      bytes += publication.entry.payload.length
      this.#send(log, publication)
    }
  }

  done(log: Log, { epoch, series, n, offsets }: Done): void {
    if (epoch !== log.outEpoch || series !== log.series) return
    for (const [i, offset] of offsets.entries()) this.#done(log, n + i, offset)
  }

  reset(log: Log, { epoch }: Reset): void {
    if (epoch <= log.outEpoch) return
    log.outEpoch = epoch
    log.n = 0
    for (const publication of log.out) publication.n = ++log.n
    this.kick(log)
  }

  #done(log: Log, n: number, offset: number): void {
    const at = log.out.findIndex((one) => one.n === n)
    const [publication] = at < 0 ? [] : log.out.splice(at, 1)
    if (!publication) return
    this.bytes -= publication.entry.payload.length
    const { key } = publication.entry
    log.outKeys.delete(key)
    const place = { epoch: log.outEpoch, offset, key }
    this.#recent.set(nameOf(log, key), place)
    if (this.#recent.size > MOST_RECENT) this.#turn()
    for (const { settle } of publication.waiters) settle(place)
  }

  #recorded(log: Log, key: string): Place | null {
    const name = nameOf(log, key)
    const place = this.#recent.get(name) ?? this.#former.get(name)
    return place?.epoch === log.outEpoch ? place : null
  }

  #turn(): void {
    this.#former = this.#recent
    this.#recent = new Map()
    this.#turned = this.#context.environment.now()
  }

  #send(log: Log, publication: Publication): void {
    const { n, entry } = publication
    const { environment } = this.#context
    publication.sent = this.#context.environment.now()
    this.#context.send(this.#context.target(log), {
      kind: 'publish',
      log: log.name,
      epoch: log.outEpoch,
      from: environment.publisher,
      series: log.series,
      n,
      known: (log.out[0]?.n ?? n) - 1,
      ...entry,
    })
  }
}

function nameOf(log: Log, key: string): string {
  return `${key} ${log.name}`
}
