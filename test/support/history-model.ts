import type { HistoryLimits, Missing, NewEntry, Place, Reading } from '../../lib/history/store.ts'

/** One message of a log. All messages of an entry are kept, or none. */
interface Message {
  readonly entry: NewEntry
  /** The offset of the last message of its entry. */
  readonly end: number
  readonly at: number
  gone: Missing | null
}

/** One life of a log: an array of all messages that were ever recorded. */
interface Life {
  readonly epoch: string
  readonly renewed: boolean
  readonly messages: Message[]
}

/**
 * A history of one process as arrays, for a comparison with an engine. It goes through everything at
 * each step, and never forgets a log.
 */
export class HistoryModel {
  readonly #limits: HistoryLimits
  readonly #lives = new Map<string, Life>()

  constructor(limits: HistoryLimits) {
    this.#limits = limits
  }

  /** Removes what is too old. Call it whenever the time moves. */
  expire(now: number): void {
    for (const { messages } of this.#lives.values()) {
      for (const message of messages) {
        if (now - message.at >= this.#limits.ttl) message.gone ??= 'expired'
      }
    }
  }

  /** Records an entry, and returns the offset of its last message. The engine chooses the epoch of a new log. */
  append(log: string, entry: NewEntry, now: number, epoch: string): number {
    const life = this.#lives.get(log) ?? { epoch, renewed: false, messages: [] }
    this.#lives.set(log, life)
    const before = life.messages.findLast((message) => message.entry.key === entry.key)
    if (before && (!before.gone || before.end === life.messages.length)) return before.end
    const end = life.messages.length + entry.count
    for (let i = 0; i < entry.count; i++) life.messages.push({ entry, end, at: now, gone: null })
    this.#trim(life)
    return end
  }

  /** Begins a new life, if the log has not got what was seen. Returns whether it did. */
  renew(log: string, seen: Place, epoch: string): boolean {
    const life = this.#lives.get(log)
    const isWrong = life
      ? life.epoch < seen.epoch ||
        (life.epoch === seen.epoch && ['ahead', 'epoch'].includes(this.#find(life, seen) ?? ''))
      : seen.epoch.length > 9
    if (isWrong) this.#lives.set(log, { epoch, renewed: true, messages: [] })
    return isWrong
  }

  top(log: string): Place | null {
    const life = this.#lives.get(log)
    if (!life) return null
    const last = life.messages.at(-1)
    return { epoch: life.epoch, offset: last?.end ?? 0, key: last?.entry.key ?? '' }
  }

  /** Returns the texts after a place, or why they cannot be given. */
  read(log: string, since: Place | null, isRecent: (epoch: string) => boolean): string[] | Missing {
    const life = this.#lives.get(log)
    if (since === null) return life ? textsOf(life, 0) : []
    if (life?.epoch === since.epoch) return this.#find(life, since) ?? textsOf(life, since.offset)
    if (since.offset !== 0 || since.key !== '' || !isRecent(since.epoch)) return 'epoch'
    if (!life) return []
    if (life.renewed || since.epoch > life.epoch) return 'epoch'
    return this.#find(life, since) ?? textsOf(life, 0)
  }

  /** Returns why a place in this life does not fit, or null. */
  #find({ messages }: Life, { offset, key }: Place): Missing | null {
    if (offset > messages.length) return 'ahead'
    const floor = messages.findLastIndex(({ gone }) => gone !== null) + 1
    if (offset < floor) return messages[floor - 1]?.gone ?? null
    return (offset === 0 ? '' : messages[offset - 1]?.entry.key) === key ? null : 'epoch'
  }

  #trim({ messages }: Life): void {
    for (;;) {
      const kept = messages.filter(({ gone }) => !gone)
      const bytes = [...new Set(kept.map(({ entry }) => entry))]
        .map(({ payload }) => payload.length)
        .reduce((sum, length) => sum + length, 0)
      if (kept.length <= this.#limits.messages && bytes <= this.#limits.bytes) return
      for (const message of kept) {
        if (message.entry === kept[0]?.entry) message.gone = 'trimmed'
      }
    }
  }
}

function textsOf({ messages }: Life, offset: number): string[] {
  const kept = messages.filter(({ gone, end }) => !gone && end > offset)
  return [...new Set(kept.map(({ entry, end }) => `${end} ${entry.key}`))]
}

/** Returns a reading in the form of the model. */
export function readingOf(reading: Reading): string[] | Missing {
  if ('missing' in reading) return reading.missing
  return reading.entries.map(({ offset, key }) => `${offset} ${key}`)
}
