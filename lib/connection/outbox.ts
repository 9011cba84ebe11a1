// The sending side of a connection: order, one write per turn, and slow consumers.

import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import { channels } from '../diagnostics.ts'
import {
  type Congested,
  forgetProgress,
  idleTime,
  watchProgress,
  watchWhetherBehind,
} from './congestion.ts'
import { settleDropped } from './ending.ts'
import { type Batch, EMPTY, EMPTY_COMPRESSING, type Frame, PING } from './frame.ts'
import { heldBytes, holdFrame, releaseFrames } from './held-frames.ts'
import type { ConnectionRules } from './rules.ts'
import { tellSent } from './sent.ts'
import { countsLater } from './taken.ts'
import { type Flushable, flushAtEndOfTurn } from './turn.ts'
import type { Sendable } from './types.ts'

/** A batch above this many bytes does not wait for the end of the turn; nor does what is corked. */
const MOST_PER_WRITE = 64 * 1024
/** So many times `maxBufferedAmount`, and it is too slow whether or not it takes something. */
const HARD_LIMIT = 16

/** It is in the list of this turn. */
const TOUCHED = 1
/** The socket is corked until the end of the turn. */
const CORKED = 2
/** The socket did not take all at once. */
const CONGESTED = 4
/** It takes nothing, and too much waits. */
const STALLED = 8
/** A message of the application is sent in parts, and not whole yet. */
const FRAGMENTING = 16
/** It takes compressed frames that others get too. */
const COMPRESSING = 32
/** Everything goes through ws: what it sends is not known byte by byte. */
const THROUGH_WS = 64
/** Nothing more is sent. */
const ENDED = 128
/** It was congested, and has taken everything since. */
const RELIEVED = 256
/** The first part of a message was dropped, and with it all others. */
const SKIPPING = 512
/** Over HTTP/2: something waits, and whether it is behind is seen later. */
const UNSURE = 1024
/** The kernel had all of it when `terminate()` destroyed the socket. */
const HANDED_OVER = 2048
/** The bits from here on are those of `intake.ts`. */
export const FREE_FLAG = 4096

const UNUSUAL = CONGESTED | FRAGMENTING | COMPRESSING | THROUGH_WS | ENDED | SKIPPING

/** How compression was negotiated: not at all, with frames that all can share, or with a context. */
export type Compression = 'none' | 'shared' | 'own'

/** The owner, which is told of a connection that is too slow. */
export interface OutboxOwner<C> {
  readonly rules: ConnectionRules
  /** Close it with 4610. */
  tooSlow(connection: C): void
  /** Messages that were to be sent are not. */
  count(reason: 'dropped', many: number, connection: C): void
}

/** What became of one frame for one connection. */
export type Outcome = 'sent' | 'dropped' | 'gone'

/**
 * The sending side of one connection: what the hub sends to many, and what ws sends to this one, in
 * the order of the calls. All that comes together in one turn of the event loop leaves in one write.
 *
 * The base class of `Intake`, and with it of `ConnectionCore`: one object in place of three for each of many
 * connections. For the same reason it has no private methods, of which Node keeps a mark in each object.
 */
export abstract class Outbox<C extends WebSocket = WebSocket> implements Flushable, Congested {
  readonly connection: C
  #socket: Duplex | null = null
  #batch: Batch = EMPTY
  /** Bits of this file and of `intake.ts`. */
  protected flags = 0

  constructor(connection: C) {
    this.connection = connection
  }

  /** The hub's side of the connection; null before the hub has taken the connection over. */
  abstract readonly owner: OutboxOwner<C> | null

  /** The stream of the connection. Asked only after `openOutbox`. */
  get socket(): Duplex {
    return this.#socket as Duplex
  }

  /** The hub has taken the connection over. */
  protected openOutbox(socket: Duplex, compression: Compression): void {
    this.#socket = socket
    this.#batch = compression === 'shared' ? EMPTY_COMPRESSING : EMPTY
    if (compression === 'shared') this.flags |= COMPRESSING
    else if (compression === 'own') this.flags |= THROUGH_WS
  }

  /** Bytes that wait here and not yet in the socket. */
  get waiting(): number {
    return this.#batch.size + ((this.flags & FRAGMENTING) === 0 ? 0 : heldBytes(this))
  }

  /** For how many milliseconds the client has taken nothing of what waits; null when nothing waits. */
  get idleTime(): number | null {
    if ((this.flags & CONGESTED) === 0 || this.socket.writableLength === 0) return null
    return idleTime(this)
  }

  /** Whether it was behind when last asked, and is not any more. The kernel may still have some of it. */
  get wasBehind(): boolean {
    const was = (this.flags & RELIEVED) !== 0
    this.flags &= ~RELIEVED
    return was
  }

  /** Put a frame behind everything that was sent before. */
  add(frame: Frame, volatile: boolean): Outcome {
    if ((this.flags & UNUSUAL) !== 0) {
      if ((this.flags & ENDED) !== 0) return 'gone'
      if (!this.takes(volatile)) return 'dropped'
      if ((this.flags & FRAGMENTING) !== 0) {
        holdFrame(this, frame)
        return 'sent'
      }
      const waits = this.socket.writableLength + this.#batch.size
      // When more waits in ws, it compresses or reads a Blob: a frame written now would overtake that.
      if ((this.flags & THROUGH_WS) !== 0 || this.connection.bufferedAmount > waits) {
        this.begin()
        WebSocket.prototype.send.call(this.connection, frame.payload, { binary: frame.binary })
        this.finished(true)
        return 'sent'
      }
    }
    if ((this.flags & TOUCHED) === 0) this.touch()
    else if (this.#batch.size > 0 && this.#batch.size + frame.plain.length > MOST_PER_WRITE) {
      this.writeBatch()
      this.pushed()
    }
    this.#batch = frame.after(this.#batch)
    return 'sent'
  }

  /** Whether it sends, as it is, all that is added. */
  get takesAll(): boolean {
    return (this.flags & UNUSUAL) === 0
  }

  /**
   * Whether a message, or with `whole` false a part of one, may be sent to this client now; when it may
   * not, it has been dropped.
   */
  admits(whole = true): boolean {
    if (this.takesAll) return true
    if ((this.flags & SKIPPING) !== 0) {
      if (whole) this.flags &= ~SKIPPING
      return false
    }
    // A message that has begun cannot be dropped: the next would be taken for the rest of it.
    if ((this.flags & FRAGMENTING) !== 0) {
      if (!this.isOverHardLimit) return true
      this.giveUp()
      return false
    }
    const takes = this.takes(false)
    if (!takes && !whole) this.flags |= SKIPPING
    return takes
  }

  /**
   * ws is about to write a ping or pong, unless this is false: then it has been dropped, and its callback is told. A
   * message in parts stays as it is: RFC 6455, section 5.4, has control frames between its parts.
   *
   * @param answers false for a ping, which expects an answer: ws ends a client with missing pongs
   * @param given the arguments of ws, of which one may be the callback
   */
  beginControl(answers: boolean, ...given: readonly unknown[]): boolean {
    if (!this.takesAll && !this.takes(false) && (answers || this.isOverHardLimit)) {
      settleDropped(...given)
      return false
    }
    this.begin()
    return true
  }

  /** ws is about to write: what waits goes first, and the socket is corked until the turn ends. */
  begin(data?: unknown): void {
    if (typeof data === 'object' && data instanceof Blob) this.flags |= THROUGH_WS // sent when it is read
    if ((this.flags & CORKED) === 0) {
      this.flags |= CORKED
      this.socket.cork()
      if ((this.flags & TOUCHED) === 0) this.touch()
    }
    this.writeBatch()
  }

  /** ws has written a message, or with `whole` false a part of one. With `data`, it was the application's. */
  finished(whole: boolean, data?: Sendable): void {
    if (data !== undefined && channels.sent.hasSubscribers) tellSent(this.connection, data)
    if (!whole) this.flags |= FRAGMENTING
    else if ((this.flags & FRAGMENTING) !== 0) {
      this.flags &= ~FRAGMENTING
      for (const frame of releaseFrames(this)) {
        if (this.add(frame, false) === 'dropped') this.owner?.count('dropped', 1, this.connection)
      }
    }
    if (this.socket.writableLength > MOST_PER_WRITE) this.push()
  }

  /** Nothing is sent any more. */
  protected endOutbox(): void {
    this.flags |= ENDED
  }

  /** Hand everything to the kernel now. */
  push(): void {
    this.writeBatch()
    this.pushed()
  }

  /** The socket is about to be destroyed: hand everything to the kernel, and see whether it takes all. */
  handOver(): void {
    this.push()
    this.flags |= ENDED
    if (!this.socket.destroyed && this.socket.writableLength === 0) this.flags |= HANDED_OVER
  }

  /** Whether the socket was destroyed before the kernel had taken all: asked by the callback of a write. */
  get isCutOff(): boolean {
    return this.socket.destroyed && (this.flags & HANDED_OVER) === 0
  }

  /** A ping that does not wait for the messages before it. */
  pingNow(): void {
    this.socket.write(PING)
  }

  /** The turn has ended. */
  flush(): void {
    this.flags &= ~TOUCHED
    this.push()
  }

  /** The connection is gone, and with it what waits. */
  protected disposeOutbox(): void {
    this.flags |= ENDED
    this.#batch = EMPTY
    const unsent = releaseFrames(this).length
    if (unsent > 0) this.owner?.count('dropped', unsent, this.connection)
    if ((this.flags & (CONGESTED | UNSURE)) !== 0) forgetProgress(this)
  }

  // ---- Congested

  behind(): void {
    this.flags = (this.flags & ~UNSURE) | CONGESTED
    watchProgress(this)
  }

  progress(moved: boolean, stalled: boolean): void {
    if (moved) this.flags &= ~STALLED
    if (!stalled) return
    // The client has ended its side and takes nothing: ws waits for that without a timer.
    if (this.isHalfClosed) this.connection.terminate()
    if (this.connection.bufferedAmount <= this.mostBuffered) return
    this.flags |= STALLED
    if (this.owner?.rules.slowConsumer === 'close') this.giveUp()
  }

  relieved(): void {
    if ((this.flags & CONGESTED) !== 0) this.flags |= RELIEVED
    this.flags &= ~(CONGESTED | STALLED | UNSURE)
  }

  /** Whether a client that is behind may be sent more. */
  private takes(volatile: boolean): boolean {
    if ((this.flags & CONGESTED) !== 0 && this.socket.writableLength === 0) {
      forgetProgress(this)
      this.relieved()
    }
    if ((this.flags & (CONGESTED | FRAGMENTING | COMPRESSING | THROUGH_WS)) === 0) return true
    const slowConsumer = this.owner?.rules.slowConsumer
    if (this.isOverHardLimit) {
      if (slowConsumer === 'close') this.giveUp()
      return false
    }
    if ((this.flags & CONGESTED) === 0) return true
    return !volatile && ((this.flags & STALLED) === 0 || slowConsumer === 'close')
  }

  /** What ws has still to compress counts too. */
  private get mostBuffered(): number {
    return this.owner?.rules.maxBufferedAmount ?? Infinity
  }

  private get isOverHardLimit(): boolean {
    return this.connection.bufferedAmount > this.mostBuffered * HARD_LIMIT
  }

  private giveUp(): void {
    if (this.isHalfClosed) this.connection.terminate()
    else if ((this.flags & ENDED) === 0) this.owner?.tooSlow(this.connection)
  }

  /** Closing, and not by us: the client ended its side without a close frame. */
  private get isHalfClosed(): boolean {
    return (this.flags & ENDED) === 0 && this.connection.readyState === WebSocket.CLOSING
  }

  private touch(): void {
    this.flags |= TOUCHED
    flushAtEndOfTurn(this)
  }

  private writeBatch(): void {
    const batch = this.#batch
    if (batch.size === 0) return
    this.#batch = batch.compresses ? EMPTY_COMPRESSING : EMPTY
    // Gone meanwhile: its `close` event is on the way.
    if (this.socket.writable) this.socket.write(batch.bytes)
  }

  /** Let go of the cork, and see whether the kernel took all. */
  private pushed(): void {
    if ((this.flags & CORKED) !== 0) {
      this.flags &= ~CORKED
      this.socket.uncork()
    }
    const { writableLength } = this.socket
    if (writableLength === 0 || (this.flags & (CONGESTED | ENDED)) !== 0) return
    if (writableLength > MOST_PER_WRITE || !countsLater(this.socket)) this.behind()
    else if ((this.flags & UNSURE) === 0) {
      this.flags |= UNSURE
      watchWhetherBehind(this)
    }
  }
}
