// `Pull`: a stream of another instance, for a connection of this one.
import { itemSize } from '../protocol/streams.ts'
import { isNumber, type Note, noteOf, type RelayLine } from './notes.ts'
import type { StreamSink } from './stream-sender.ts'

/** A stream, as the connection of its client sees it. */
export interface StreamSource {
  /** Grants credit; `items` is the number of items that the client has taken. */
  grant(bytes: number, items: number): void
  cancel(reason?: unknown): void
  /** The connection has ended. */
  detach(sink: StreamSink, reason: unknown): void
}

/** A connection that resumes a stream of another instance. */
export interface ResumingSink extends StreamSink {
  /** The id of the request. */
  readonly id: number
  /** The instance of the stream has ended, or is silent. */
  lost(): void
}

/** How long other instances have to say that they have a stream, in milliseconds. */
const PATIENCE = 3_000
/** How often a relayed stream is asked for anew, in case a note was lost, in milliseconds. */
const REPEAT = 2_000
/** So many repetitions without a word, and the stream is lost. */
const MOST_SILENT = 5

/** A stream of another instance, for a connection of this one. */
export class Pull implements StreamSource {
  onEnd: () => void = () => {}
  readonly #number: number
  readonly #name: string
  readonly #sink: ResumingSink
  readonly #line: RelayLine
  readonly #waiting: Set<string>
  readonly #found: (isFound: boolean) => void
  /** The instance that has the stream. */
  #peer: string | null = null
  /** The index of the next item. */
  #next: number
  /** What the client allows, in bytes of items that were not handed over. */
  #credit: number
  #taken = 0
  /** Repetitions without a word since. */
  #silent = 0
  #hasHeard = false
  #isOver = false
  #timer: NodeJS.Timeout

  constructor(
    number: number,
    name: string,
    sink: ResumingSink,
    since: number,
    credit: number,
    peers: Set<string>,
    line: RelayLine,
    found: (isFound: boolean) => void,
  ) {
    this.#number = number
    this.#name = name
    this.#sink = sink
    this.#next = since
    this.#credit = credit
    this.#waiting = peers
    this.#line = line
    this.#found = found
    this.#timer = setTimeout(() => this.#lost(), PATIENCE).unref()
  }

  /** Asks all instances that may have the stream. */
  ask(): void {
    for (const peer of [...this.#waiting]) {
      if (!this.#pullFrom(peer)) this.#none(peer)
    }
  }

  heard(from: string, [kind, , ...rest]: readonly unknown[]): void {
    if (this.#isOver) return
    this.#hasHeard = true
    if (kind === 'none') this.#none(from)
    else if (kind === 'gone') {
      if (from === this.#peer) this.#end(() => this.#sink.replaced())
    } else if (kind === 'items' || kind === 'answer') {
      this.#foundAt(from)
      if (kind === 'items') this.#items(rest)
      else this.#answer(rest)
    }
  }

  left(peer: string): void {
    if (peer === this.#peer) this.#lost()
    else this.#none(peer)
  }

  grant(bytes: number, items: number): void {
    this.#credit += bytes
    this.#taken = Math.max(this.#taken, items)
    this.#tell(['grant', this.#number, bytes, this.#taken])
  }

  cancel(): void {
    this.#tell(['cancel', this.#number])
    this.#end(() => {})
  }

  detach(): void {
    this.#tell(['leave', this.#number])
    this.#end(() => {})
  }

  close(): void {
    this.#lost()
  }

  #foundAt(peer: string): void {
    if (this.#peer !== null) return
    this.#peer = peer
    this.#waiting.clear()
    this.#repeat()
    this.#found(true)
  }

  #none(peer: string): void {
    if (peer === this.#peer) {
      this.#lost()
      return
    }
    if (this.#waiting.delete(peer) && this.#waiting.size === 0) this.#lost()
  }

  #items([first, list]: readonly unknown[]): void {
    if (!isNumber(first) || !Array.isArray(list)) return
    // A gap: a note was lost. The next repetition asks for what is missing.
    if (first > this.#next) return
    for (const json of list.slice(this.#next - first)) {
      if (typeof json !== 'string') return
      this.#credit -= itemSize(this.#sink.id, json)
      this.#sink.item(json, this.#next++)
      if (this.#isOver) return
    }
  }

  #answer([items, type, json]: readonly unknown[]): void {
    if (items !== this.#next || typeof json !== 'string') return
    if (type !== 'koaws:reply' && type !== 'koaws:error') return
    clearTimeout(this.#timer)
    this.#sink.answer({ type, json })
  }

  /** Asks anew after a silence: what was lost comes again. */
  #repeat(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#silent = this.#hasHeard ? 0 : this.#silent + 1
      if (this.#silent > MOST_SILENT) {
        this.#lost()
        return
      }
      if (!this.#hasHeard && this.#peer !== null) this.#pullFrom(this.#peer)
      this.#hasHeard = false
      this.#repeat()
    }, REPEAT).unref()
  }

  #pullFrom(peer: string): boolean {
    const { name, number } = { name: this.#name, number: this.#number }
    const credit = Math.max(0, Math.round(this.#credit))
    return this.#line.tell(peer, noteOf(['pull', number, name, this.#next, credit]))
  }

  #tell(note: Note): void {
    if (this.#peer !== null && !this.#isOver) this.#line.tell(this.#peer, noteOf(note))
  }

  #lost(): void {
    if (this.#isOver) return
    const wasFound = this.#peer !== null
    this.#end(() => {
      if (wasFound) this.#sink.lost()
      else this.#found(false)
    })
  }

  #end(tell: () => void): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.onEnd()
    tell()
  }
}
