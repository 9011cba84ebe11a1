// `Serving`: a stream of this instance, for a connection of another one.
import { isCount } from '../fields.ts'
import type { StreamAnswer } from '../protocol/streams.ts'
import { type Note, noteOf, type RelayLine } from './notes.ts'
import type { StreamSender, StreamSink } from './stream-sender.ts'

/** Notes are joined up to this many characters. */
const BATCH = 32_768

/** A stream of this instance, for a connection of another one. */
export class Serving implements StreamSink {
  readonly peer: string
  readonly attempt: number
  readonly #number: number
  readonly #line: RelayLine
  readonly #ended: () => void
  #sender: StreamSender | null = null
  /** Items of this turn, and the index of the first. */
  #batch: string[] = []
  #first = 0
  #length = 0

  constructor(peer: string, number: number, attempt: number, line: RelayLine, ended: () => void) {
    this.peer = peer
    this.attempt = attempt
    this.#number = number
    this.#line = line
    this.#ended = ended
  }

  /** Connects the stream. Returns false if it cannot go on after `since` items. */
  serve(sender: StreamSender, since: number, credit: number, taken: number): boolean {
    this.#sender = sender
    this.#drop() // what was not told yet is sent again
    if (!sender.attach(this, since, credit, taken)) return false
    // The other instance knows by this that the stream is here.
    this.#tell(['items', this.#number, since, []])
    return true
  }

  heard(kind: 'grant' | 'cancel' | 'leave', [, , bytes, items]: readonly unknown[]): void {
    const sender = this.#sender
    if (kind === 'leave') this.leave()
    else if (kind === 'cancel') sender?.cancel()
    else if (isCount(bytes) && isCount(items)) sender?.grant(bytes, items)
  }

  leave(): void {
    this.#drop()
    this.#sender?.detach(this, undefined)
    this.#ended()
  }

  item(json: string, index: number): void {
    if (this.#batch.length === 0) {
      this.#first = index
      // After the microtasks in which a generator makes the items of one turn.
      process.nextTick(() => this.#flush())
    }
    this.#batch.push(json)
    this.#length += json.length
    if (this.#length >= BATCH) this.#flush()
  }

  answer({ type, json }: StreamAnswer): void {
    this.#flush()
    this.#tell(['answer', this.#number, this.#sender?.items ?? 0, type, json])
  }

  replaced(isLost: boolean): void {
    this.#sender = null
    this.#drop()
    this.#tell([isLost ? 'none' : 'gone', this.#number])
    this.#ended()
  }

  #flush(): void {
    const items = this.#batch
    this.#drop()
    if (items.length > 0) this.#tell(['items', this.#number, this.#first, items])
  }

  #drop(): void {
    this.#batch = []
    this.#length = 0
  }

  #tell(note: Note): void {
    this.#line.tell(this.peer, noteOf(note))
  }
}
