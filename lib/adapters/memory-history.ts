// `memoryHistory()`: the history of the hubs of one process.

import { AdapterError, OptionsError } from '../errors.ts'
import type {
  Entry,
  HistoryEvents,
  HistoryLimits,
  HistoryStore,
  NewEntry,
  OpenHistory,
  Place,
  Reading,
} from '../history/store.ts'
import { type HistoryClock, MemoryLogs } from './memory-logs.ts'

const SYSTEM: HistoryClock = {
  elapsed: () => performance.now(),
  date: () => Date.now(),
  after(delay, run) {
    const timer = setTimeout(run, delay)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/**
 * Returns a history in the memory of this process. The hubs that open it share it, so that each
 * gets the messages of all. It keeps its messages until nothing refers to it any more.
 *
 * When all logs together pass `maxTotal`, the log that was recorded to longest ago loses its oldest
 * messages first. A log without messages and members is remembered for a day, so that positions in
 * it can be judged. If too many are remembered, the oldest is forgotten early, and older positions
 * of logs that did not exist are refused.
 *
 * @throws OptionsError, when it is opened, if its limits differ from those of another open hub
 */
export function memoryHistory(clock: HistoryClock = SYSTEM): OpenHistory {
  const history = new MemoryHistory(clock)
  return (_id, limits, events) => history.open(limits, events)
}

/** An entry that was recorded, for the followers of its log. */
interface Announcement {
  readonly name: string
  readonly epoch: string
  readonly entry: Entry
}

/** The history, shared by the hubs that have opened it. */
class MemoryHistory {
  readonly logs: MemoryLogs
  readonly #open = new Set<MemoryStore>()
  readonly #followers = new Map<string, Set<MemoryStore>>()
  /** Entries that were recorded, but not yet given to the followers. */
  readonly #announcements: Announcement[] = []
  #announcing = false

  constructor(clock: HistoryClock) {
    this.logs = new MemoryLogs(clock, (name) => this.#followers.has(name))
  }

  open(limits: HistoryLimits, events: HistoryEvents): MemoryStore {
    if (this.#open.size > 0) assertEqual(this.logs.limits, limits)
    else this.logs.open(limits)
    const store = new MemoryStore(this, events)
    this.#open.add(store)
    return store
  }

  close(store: MemoryStore): void {
    this.#open.delete(store)
    for (const name of [...this.#followers.keys()]) this.unfollow(name, store)
    if (this.#open.size === 0) this.logs.close()
  }

  append(name: string, given: NewEntry): Place {
    const { place, entry } = this.logs.record(name, given)
    if (entry) {
      this.#announcements.push({ name, epoch: place.epoch, entry })
      this.#announce()
    }
    return place
  }

  follow(name: string, store: MemoryStore): void {
    const followers = this.#followers.get(name)
    if (followers) {
      followers.add(store)
      return
    }
    this.#followers.set(name, new Set([store]))
    this.logs.followed(name)
  }

  unfollow(name: string, store: MemoryStore): void {
    const followers = this.#followers.get(name)
    if (!followers?.delete(store) || followers.size > 0) return
    this.#followers.delete(name)
    this.logs.unfollowed(name)
  }

  /** Gives entries to the followers. A follower that records meanwhile gets its entry afterwards: each has one order. */
  #announce(): void {
    if (this.#announcing) return
    this.#announcing = true
    try {
      for (let next = this.#announcements.shift(); next; next = this.#announcements.shift()) {
        const { name, epoch, entry } = next
        for (const store of [...(this.#followers.get(name) ?? [])]) {
          if (this.#followers.get(name)?.has(store)) store.events.recorded(name, epoch, [entry])
        }
      }
    } finally {
      this.#announcing = false
    }
  }
}

/** The history, as one hub sees it. */
class MemoryStore implements HistoryStore {
  readonly local = true
  readonly events: HistoryEvents
  readonly #history: MemoryHistory
  #isOpen = true

  constructor(history: MemoryHistory, events: HistoryEvents) {
    this.#history = history
    this.events = events
    process.nextTick(() => {
      if (this.#isOpen) events.up()
    })
  }

  append(log: string, entry: NewEntry): Place | Promise<Place> {
    if (this.#isOpen) return this.#history.append(log, entry)
    return Promise.reject(new AdapterError('ERR_KOAWS_BACKPLANE', 'The history is closed.'))
  }

  read(log: string, since: Place | null): Reading {
    return this.#history.logs.read(log, since)
  }

  top(log: string): Place {
    return this.#history.logs.top(log)
  }

  follow(log: string): void {
    if (this.#isOpen) this.#history.follow(log, this)
  }

  unfollow(log: string): void {
    this.#history.unfollow(log, this)
  }

  renew(log: string, seen: Place): void {
    if (this.#isOpen) this.#history.logs.renew(log, seen)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#history.close(this)
  }
}

/** @throws OptionsError for limits that differ */
function assertEqual(ours: HistoryLimits, theirs: HistoryLimits): void {
  for (const name of ['messages', 'bytes', 'ttl', 'maxTotal'] as const) {
    if (ours[name] === theirs[name]) continue
    throw new OptionsError(
      `Hubs that share a memoryAdapter() share its history and need the same limits, but "history.${name}" is ${ours[name]} in one hub and ${theirs[name]} in another. Pass equal "history" options, or an adapter for each hub.`,
    )
  }
}
