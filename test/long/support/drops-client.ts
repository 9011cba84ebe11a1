import { Account, type Numbered, type Tally } from './drops-account.ts'

/** A connection that can be cut. */
export interface Cuttable {
  /** Whether it has not ended. */
  readonly isLive: boolean
  /** Facts that may explain a silence. */
  readonly state: object
  /** From now on nothing arrives. */
  mute(): void
  end(reset: boolean): void
}

/** How soon a client returns after an end that is no cut, in milliseconds. */
const AGAIN = 100

/** How a client is cut. */
export interface Cut {
  /** How long nothing arrives before the connection ends, in milliseconds: that is lost on the way. */
  readonly silence: number
  /** Whether it ends with a reset. */
  readonly reset: boolean
  /** How long the client is away afterwards, in milliseconds. */
  readonly away: number
}

export interface DropOptions {
  readonly contestant: string
  readonly port: number
  readonly index: number
  readonly room: number
  /** The most messages of the room. */
  readonly most: number
}

/** A client in one room that is cut, and comes back when it is told to. */
export abstract class DropClient {
  readonly account: Account
  readonly room: number
  isIn = false
  readonly #tally: Tally
  #isAway = false
  /** Whether the server has said what becomes of this return. */
  #isJudged = true

  constructor(tally: Tally, { index, room, most }: DropOptions) {
    this.#tally = tally
    this.room = room
    this.account = new Account(tally, index, most)
  }

  /** The connection of now. */
  protected abstract get socket(): Cuttable | undefined
  /** Connects now. */
  protected abstract open(): void
  abstract close(): void

  /** What the client waits for, when it is silent. */
  get state(): object {
    const { isIn, account, socket } = this
    const flags = { isIn, isAway: this.#isAway, isJudged: this.#isJudged, isLive: socket?.isLive }
    return { kind: this.constructor.name, ...flags, ...account.state, ...socket?.state }
  }

  start(): void {
    this.account.begin()
    this.open()
  }

  /** Cuts the connection. `then` is called when the client connects again. */
  cut({ silence, reset, away }: Cut, then: () => void): void {
    const { socket } = this
    const isLive = socket?.isLive === true
    if (isLive) {
      this.#isAway = true
      this.#tally.cuts++
      if (!this.#isJudged) this.#tally.early++
      this.#isJudged = true
      socket.mute()
      this.account.cut()
    }
    setTimeout(() => {
      if (isLive) {
        this.isIn = false
        socket.end(reset)
      }
      setTimeout(() => {
        if (isLive) this.#return()
        then()
      }, away)
    }, silence)
  }

  #return(): void {
    this.#isAway = false
    this.#isJudged = false
    this.start()
  }

  /** The server said what becomes of the recovery. */
  protected judged(recovered: boolean, reason: string): void {
    this.#isJudged = true
    if (recovered) {
      this.#tally.recoveries++
      return
    }
    this.#tally.refused++
    this.#tally.reasons[reason] = (this.#tally.reasons[reason] ?? 0) + 1
    this.account.refused(reason)
  }

  protected take(message: Numbered): void {
    this.account.take(message)
  }

  /** The connection has ended, or could not be made. */
  protected ended(): void {
    const wasIn = this.isIn
    this.isIn = false
    if (this.#isAway) return
    this.#tally[wasIn ? 'unexpected' : 'failed']++
    this.#isAway = true
    setTimeout(() => this.#return(), AGAIN)
  }
}
