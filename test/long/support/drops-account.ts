/** What all clients of a process, or of a run, received. */
export interface Tally {
  /** Messages that were published in the rooms of the clients. */
  owed: number
  delivered: number
  /** Missing messages of a gap of which the client was told. */
  lostTold: number
  lostSilently: number
  doubled: number
  /** Messages that came after a later message. */
  reordered: number
  /** Clients with each message once and in order. */
  perfect: number
  cuts: number
  /** Cuts before the client knew what became of its recovery. */
  early: number
  recoveries: number
  refused: number
  /** The reasons of refusals. */
  reasons: Record<string, number>
  /** Connections that ended without a cut. */
  unexpected: number
  /** Attempts to connect that failed; clients of the library give up after 15 s. */
  failed: number
  /** Clients that were not in their room at the end; what is missing there is not judged. */
  neverBack: number
  /** From the begin of a reconnect to the last message that was published before it, in milliseconds. */
  caughtUp: number[]
  /** From the publish of a message to its arrival, of one message in many, in milliseconds. */
  delays: number[]
  /** Some gaps that the client was not told of, and some refusals. */
  examples: object[]
}

export const newTally = (): Tally => ({
  owed: 0,
  delivered: 0,
  lostTold: 0,
  lostSilently: 0,
  doubled: 0,
  reordered: 0,
  perfect: 0,
  cuts: 0,
  early: 0,
  recoveries: 0,
  refused: 0,
  reasons: {},
  unexpected: 0,
  failed: 0,
  neverBack: 0,
  caughtUp: [],
  delays: [],
  examples: [],
})

/** Returns the sum of some tallies. */
export function sumOf(tallies: readonly Tally[]): Tally {
  const sum = newTally()
  const into = sum as unknown as Record<string, unknown>
  const names = Object.keys(sum) as (keyof Tally)[]
  for (const tally of tallies) {
    for (const name of names) {
      const value = tally[name]
      if (typeof value === 'number') into[name] = (into[name] as number) + value
      else if (Array.isArray(value)) into[name] = (into[name] as unknown[]).concat(value)
    }
    for (const [reason, many] of Object.entries(tally.reasons))
      sum.reasons[reason] = (sum.reasons[reason] ?? 0) + many
  }
  sum.examples.length = Math.min(sum.examples.length, 20)
  return sum
}

/** The value below which a share of some numbers lies; rounded to a tenth. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = Float64Array.from(numbers).sort()
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return Math.round(value * 10) / 10
}

export interface Numbered {
  /** The number of the message in its room, from 0. */
  readonly s: number
  /** When it was published. */
  readonly at: number
}

/** Epoch milliseconds with a fraction. */
export const now = (): number => performance.timeOrigin + performance.now()

/** One message in this many counts for `delays`. */
const SAMPLE = 101

/** Judges the messages of one client, which is owed all messages of its room. */
export class Account {
  readonly #tally: Tally
  readonly #index: number
  readonly #seen: Uint8Array
  /** The number after the highest number so far. */
  next = 0
  #doubled = 0
  #reordered = 0
  /** Missing numbers, when they were skipped; some may arrive later. */
  readonly #gaps: { from: number; to: number; isTold: boolean; after: number }[] = []
  /** Whether the server said, since the last message, that the client has missed some. */
  #isTold = false
  /** When the connection was begun; 0: the client has caught up, or never will. */
  #opened = 0
  #lastMissed = 0
  #begun = 0
  /** When the last message arrived. */
  #heardAt = now()

  /** @param most the most messages of the room */
  constructor(tally: Tally, index: number, most: number) {
    this.#tally = tally
    this.#index = index
    this.#seen = new Uint8Array(most)
  }

  take({ s, at }: Numbered): void {
    const time = now()
    this.#heardAt = time
    if (this.#seen[s]) {
      this.#doubled++
      return
    }
    this.#seen[s] = 1
    this.#tally.delivered++
    if (s < this.next) this.#reordered++
    else {
      if (s > this.next) this.#skip(s, time)
      this.next = s + 1
      this.#isTold = false
    }
    if (this.#opened > 0) this.#catchUp(at, time)
    else if (s % SAMPLE === 0) this.#tally.delays.push(time - at)
  }

  /** The client connects again. */
  begin(): void {
    this.#opened = this.#begun = now()
    this.#lastMissed = 0
  }

  cut(): void {
    this.#opened = 0
  }

  /** The server says that messages are missing. */
  refused(reason: string): void {
    this.#isTold = true
    this.#opened = 0
    this.#tally.examples.push({ client: this.#index, reason, ...this.state })
  }

  /** How long ago, in seconds, the last message arrived, and the last connection was begun. */
  get state(): { silent: number; begun: number } {
    const since = (time: number): number => Math.round((now() - time) / 1_000)
    return { silent: since(this.#heardAt), begun: since(this.#begun) }
  }

  /** Adds the judgment to the tally. @param published the number of messages in the room */
  end(published: number): void {
    const tally = this.#tally
    if (this.next < published) this.#skip(published, now())
    let [lost, silent] = [0, 0]
    for (const { from, to, isTold, after } of this.#gaps) {
      let missing = 0
      for (let s = from; s < to; s++) if (!this.#seen[s]) missing++
      lost += missing
      if (isTold || missing === 0) continue
      silent += missing
      if (tally.examples.length < 20)
        tally.examples.push({ client: this.#index, from, to, missing, after })
    }
    tally.owed += published
    tally.lostSilently += silent
    tally.lostTold += lost - silent
    tally.doubled += this.#doubled
    tally.reordered += this.#reordered
    if (lost + this.#doubled + this.#reordered === 0) tally.perfect++
  }

  #skip(to: number, time: number): void {
    const after = Math.round(time - this.#begun)
    this.#gaps.push({ from: this.next, to, isTold: this.#isTold, after })
  }

  #catchUp(at: number, time: number): void {
    if (at < this.#opened) {
      this.#lastMissed = time
      return
    }
    if (this.#lastMissed > 0) this.#tally.caughtUp.push(this.#lastMissed - this.#opened)
    this.#opened = 0
  }
}
