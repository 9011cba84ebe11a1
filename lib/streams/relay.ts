// `StreamRelay`: resumes streams that run on other instances.
import { isCount } from '../fields.ts'
import { isCredit, listOf, NOTE, noteOf, type RelayLine } from './notes.ts'
import { Pull, type ResumingSink, type StreamSource } from './pull.ts'
import { Serving } from './serving.ts'
import type { StreamSender } from './stream-sender.ts'

/** Resumes streams that run on other instances, and serves those of this one to others. */
export class StreamRelay {
  readonly #line: RelayLine
  readonly #find: (name: string) => StreamSender | undefined
  /** Streams of other instances, by number. */
  readonly #pulls = new Map<number, Pull>()
  /** Streams of this instance at connections of others, by instance and number. */
  readonly #serving = new Map<string, Serving>()
  #last = 0

  constructor(line: RelayLine, find: (name: string) => StreamSender | undefined) {
    this.#line = line
    this.#find = find
  }

  /**
   * Looks for a stream on the other instances, and connects it with a sink. Resolves with null if
   * no instance has it.
   */
  pull(
    name: string,
    sink: ResumingSink,
    since: number,
    credit: number,
  ): Promise<StreamSource | null> {
    const peers = this.#line.peers()
    if (peers.length === 0) return Promise.resolve(null)
    const number = ++this.#last
    return new Promise((resolve) => {
      const pull = new Pull(
        number,
        name,
        sink,
        since,
        credit,
        new Set(peers),
        this.#line,
        (found) => resolve(found ? pull : null),
      )
      pull.onEnd = () => this.#pulls.delete(number)
      this.#pulls.set(number, pull)
      pull.ask()
    })
  }

  /** Takes a note of another instance. @returns false for a note of another kind */
  noted(from: string, text: string): boolean {
    if (!text.startsWith(NOTE)) return false
    const list = listOf(text)
    const [kind, number] = list
    if (!isCount(number)) return true
    if (kind === 'pull') this.#asked(from, number, list)
    else if (kind === 'grant' || kind === 'cancel' || kind === 'leave') {
      this.#serving.get(servingName(from, number))?.heard(kind, list)
    } else this.#answered(from, number, list)
    return true
  }

  /** An instance has left. */
  left(peer: string): void {
    for (const pull of [...this.#pulls.values()]) pull.left(peer)
    for (const serving of [...this.#serving.values()]) if (serving.peer === peer) serving.leave()
  }

  close(): void {
    for (const pull of [...this.#pulls.values()]) pull.close()
  }

  #answered(from: string, number: number, list: readonly unknown[]): void {
    const pull = this.#pulls.get(number)
    const [kind] = list
    if (pull) pull.heard(from, list)
    // Found too late: the request has its answer already.
    else if (kind === 'items' || kind === 'answer') this.#line.tell(from, noteOf(['leave', number]))
  }

  #asked(from: string, number: number, list: readonly unknown[]): void {
    const [, , name, since, credit, taken = since, isRepeated, attempt] = list
    const sender = typeof name === 'string' ? this.#find(name) : undefined
    if (sender && sender.claimed !== null) {
      void sender.claimed.then(() => this.#asked(from, number, list))
      return
    }
    const key = servingName(from, number)
    const served = this.#serving.get(key)
    if (isRepeated === true && !served && sender?.isAttached) {
      this.#line.tell(from, noteOf(['gone', number])) // again: the first such note was lost
      return
    }
    const serving =
      served ??
      new Serving(from, number, isCount(attempt) ? attempt : 0, this.#line, () =>
        this.#serving.delete(key),
      )
    const isServed =
      sender &&
      isCount(since) &&
      isCredit(credit) &&
      isCount(taken) &&
      serving.serve(sender, since, credit, taken)
    if (!isServed) {
      serving.leave()
      this.#line.tell(from, noteOf(['none', number]))
      return
    }
    this.#serving.set(key, serving)
  }
}

function servingName(peer: string, number: number): string {
  return `${peer} ${number}`
}
