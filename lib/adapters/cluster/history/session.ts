// The messages between two living instances: in order, once, and over broken streams.

import { type Frame, FrameKind } from './frames.ts'
import type { Message } from './messages.ts'
import { decode, encode, sizeOf } from './wire.ts'

/** The most bytes that are sent ahead of their acknowledgment. */
const WINDOW = 4 * 1024 * 1024
/** The size at which messages are split into parts, and the most that share a part, in bytes. */
const PART = 1024 * 1024
/** The longest messages that are accepted, in bytes. */
const LONGEST = 512 * 1024 * 1024
/** How many bytes may arrive before they are acknowledged at once, at most. */
const UNACKNOWLEDGED = 256 * 1024
/** After how many ticks without an acknowledgment frames are sent again, at first and at most. */
const PATIENCE = 5
const MOST_PATIENCE = 300
const NONE: Buffer = Buffer.alloc(0)

/** What a session knows of a frame. */
export type SessionFrame = Omit<Frame, 'from' | 'pid'>

/** What a session needs of its transport. */
export interface SessionOwner {
  /** Sends a frame. It may be lost. */
  write(session: Session, frame: SessionFrame): void
  /** @param messages what arrived together */
  received(session: Session, messages: readonly Message[]): void
}

/**
 * The messages between two living instances. Frames are numbered, and sent again after a stream broke
 * off: that is not the end of an instance. What an instance has not taken is bounded: then messages
 * are discarded that are repeated, or that the receiver misses.
 */
export class Session {
  readonly peer: string
  readonly #owner: SessionOwner
  readonly #most: number
  /** A part of what the other side may have waiting: what is not acknowledged counts there. */
  readonly #mostUnacknowledged: number
  /** Messages that are not in a frame yet, and their size. */
  #waiting: Message[] = []
  #waitingSize = 0
  /** Frames that are not acknowledged. */
  #sent: Omit<SessionFrame, 'got'>[] = []
  #sentSize = 0
  #number = 0
  /** The last number that arrived, and the bytes since an acknowledgment; Infinity: it is due at once. */
  #got = 0
  #unacknowledged = 0
  #parts: Buffer[] = []
  #partsSize = 0
  /** Entries for the other side were discarded. */
  #hasMissed = false
  /** A frame may be lost. */
  isBroken = false
  /** Ticks without an acknowledgment, and how many are accepted. */
  #ticks = 0
  #patience = PATIENCE

  /** @param most the size of what may wait for the other side, in bytes */
  constructor(peer: string, owner: SessionOwner, most: number) {
    this.peer = peer
    this.#owner = owner
    this.#most = most
    this.#mostUnacknowledged = Math.min(UNACKNOWLEDGED, most / 4)
  }

  /** Whether so much waits that entries shall wait elsewhere. */
  get isFull(): boolean {
    return this.#waitingSize + this.#sentSize > this.#most
  }

  /** Whether the other side has got everything. */
  get isDrained(): boolean {
    return this.#waiting.length === 0 && this.#sent.length === 0
  }

  /** Sends a message with the next `flush`. */
  send(message: Message): void {
    if (this.isFull && isRepeated(message)) {
      if (message.kind === 'recorded') this.#hasMissed = true
      return
    }
    this.#waiting.push(message)
    this.#waitingSize += sizeOf(message)
  }

  /** Writes what waits, as far as the window allows. */
  flush(): void {
    while (this.#waiting.length > 0 && this.#sentSize < WINDOW) this.#write()
    if (this.#hasMissed && this.isDrained) {
      this.#hasMissed = false
      this.#waiting.push({ kind: 'missed' })
      this.#write()
    }
    if (this.#unacknowledged >= this.#mostUnacknowledged) this.acknowledge()
  }

  /** Whether the other side does not know what has arrived. The next message tells it too. */
  get owes(): boolean {
    return this.#unacknowledged > 0
  }

  /** Tells the other side what has arrived. */
  acknowledge(): void {
    this.#unacknowledged = 0
    const kind = FrameKind.acknowledgment
    this.#owner.write(this, { kind, number: 0, got: this.#got, body: NONE })
  }

  /**
   * Called several times in a second. Sends again what was lost, and what is not acknowledged for long: the
   * link does not report each loss.
   */
  tick(): void {
    this.#ticks = this.#sent.length > 0 ? this.#ticks + 1 : 0
    if (this.#ticks >= this.#patience) {
      this.#ticks = 0
      this.#patience = Math.min(2 * this.#patience, MOST_PATIENCE)
      this.isBroken = true
    }
    if (this.isBroken) this.repeat()
  }

  /** Sends again what is not acknowledged. */
  repeat(): void {
    this.isBroken = false
    for (const frame of this.#sent) this.#owner.write(this, { ...frame, got: this.#got })
    this.#unacknowledged = Infinity
    this.flush()
  }

  /** @throws RangeError for a malformed frame */
  arrived({ kind, number, got, body }: Frame): void {
    this.#acknowledged(got)
    if (kind !== FrameKind.part && kind !== FrameKind.end) return
    // An earlier one has come again, or a later one overtook a lost one, which is sent again.
    if (number !== this.#got + 1) {
      this.#unacknowledged = Infinity
      return
    }
    this.#unacknowledged += body.length
    this.#got = number
    this.#parts.push(body)
    this.#partsSize += body.length
    const size = this.#partsSize
    if (kind === FrameKind.part && size <= LONGEST) return
    const parts = this.#parts.splice(0)
    this.#partsSize = 0
    if (size > LONGEST) throw new RangeError('messages are too long')
    this.#owner.received(this, decode(parts.length === 1 ? body : Buffer.concat(parts)))
  }

  #acknowledged(got: number): void {
    let count = 0
    for (const { number, body } of this.#sent) {
      if (number > got) break
      this.#sentSize -= body.length
      count++
    }
    if (count === 0) return
    this.#sent.splice(0, count)
    this.#ticks = 0
    this.#patience = PATIENCE
  }

  /** Writes as many messages as one part takes; a longer message takes several. */
  #write(): void {
    let [count, size] = [0, 0]
    for (const message of this.#waiting) {
      const next = sizeOf(message)
      if (count > 0 && size + next > PART) break
      size += next
      count++
    }
    const bytes = encode(this.#waiting.splice(0, count))
    this.#waitingSize = Math.max(0, this.#waitingSize - size)
    for (let at = 0; at < bytes.length; at += PART) {
      const body = bytes.subarray(at, at + PART)
      const kind = at + PART < bytes.length ? FrameKind.part : FrameKind.end
      const frame = { kind, number: ++this.#number, body }
      this.#sent.push(frame)
      this.#sentSize += body.length
      this.#unacknowledged = 0
      this.#owner.write(this, { ...frame, got: this.#got })
    }
  }
}

/** Whether a message is sent again by itself, or its receiver finds what it lacks. */
function isRepeated({ kind }: Message): boolean {
  return kind === 'publish' || kind === 'ask' || kind === 'answer' || kind === 'recorded'
}
