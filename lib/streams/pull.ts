// `Pull`: a stream of another instance, for a connection of this one.
import { isCount } from '../fields.ts'
import { itemSize, MAX_CREDIT } from '../protocol/streams.ts'
import { type Note, noteOf, type RelayLine } from './notes.ts'
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
}

/** How long other instances have to say that they have a stream, in milliseconds. */
const PATIENCE = 3_000
/** How often a relayed stream is asked for anew, in case a note was lost, in milliseconds. */
const REPEAT = 2_000
/** The stream is lost after this number of repetitions without an answer. */
const MOST_SILENT = 5
/** How long an answer is remembered, so that the client can say that it has it, in milliseconds. */
const KEPT = 60_000

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
  /** The number of items that the client has taken for certain. */
  #taken: number
  /** Asked for anew after a gap at this index. */
  #askedAt = -1
  /** Repetitions without a word since. */
  #silent = 0
  #hasHeard = false
  #isOver = false
  #isAnswered = false
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
    this.#next = this.#taken = since
    this.#credit = Math.min(credit, MAX_CREDIT)
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
      if (from === this.#peer) this.#end(() => this.#sink.replaced(false))
    } else if (kind === 'items' || kind === 'answer') {
      this.#foundAt(from)
      if (from !== this.#peer || this.#isAnswered) return
      if (kind === 'items') this.#items(rest)
      else this.#answer(rest)
    }
  }

  left(peer: string): void {
    if (peer === this.#peer) this.#lost()
    else this.#none(peer)
  }

  grant(bytes: number, items: number): void {
    this.#credit = Math.min(this.#credit + bytes, MAX_CREDIT)
    this.#taken = Math.max(this.#taken, Math.min(items, this.#next))
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
    if (!isCount(first) || !Array.isArray(list)) return
    if (first > this.#next) {
      this.#missed()
      return
    }
    for (const json of list.slice(this.#next - first)) {
      if (typeof json !== 'string') return
      this.#credit -= itemSize(this.#sink.id, json)
      this.#sink.item(json, this.#next++)
      if (this.#isOver) return
    }
  }

  #answer([items, type, json]: readonly unknown[]): void {
    if (typeof json !== 'string' || (type !== 'koaws:reply' && type !== 'koaws:error')) return
    if (items !== this.#next) {
      this.#missed()
      return
    }
    this.#isAnswered = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#end(() => this.#sink.replaced(false)), KEPT).unref()
    this.#sink.answer({ type, json })
  }

  /** A note was lost: asks for what is missing, once; the repetition does it again. */
  #missed(): void {
    if (this.#askedAt === this.#next || this.#peer === null) return
    this.#askedAt = this.#next
    this.#pullFrom(this.#peer)
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
    return this.#line.tell(
      peer,
      noteOf([
        'pull',
        this.#number,
        this.#name,
        this.#next,
        this.#credit,
        this.#taken,
        this.#peer !== null,
        this.#sink.attempt,
      ]),
    )
  }

  #tell(note: Note): void {
    if (this.#peer !== null && !this.#isOver) this.#line.tell(this.#peer, noteOf(note))
  }

  #lost(): void {
    if (this.#isOver) return
    const wasFound = this.#peer !== null
    this.#end(() => {
      if (wasFound) this.#sink.replaced(true)
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
