// Signs of life: the heartbeat, the peers, the echo, and whether hearing works in both directions.

import { performance } from 'node:perf_hooks'
import { Hearing, type HearingFault } from './hearing.ts'
import type { HeardNote } from './notes.ts'
import { type PeerEvents, Peers } from './peers.ts'
import { Voice } from './voice.ts'
import type { Tell } from './wire.ts'

/** So many periods without an echo, and the engine hangs. */
const SILENCE = 2.5
/** However many peers say that they hear nothing, the link is restarted once in so many periods. */
const RESTART = 5
/** How often in a period an instance looks for peers that have fallen silent. */
const LOOKS = 4

/** What the pulse tells its line. */
export interface PulseEvents extends PeerEvents {
  /** The engine took a beat of this instance. */
  taken(): void
  /** A heartbeat is over. @param wasLate whether this process did something else for a long time */
  ticked(now: number, wasLate: boolean): void
  /** It is time to look for silent peers, several times in a period. */
  looked(now: number): void
}

/** The signs of life of one instance: what it says, what it hears of its peers, and its own echo. Times are monotonic. */
export class Pulse {
  readonly peers: Peers
  readonly #id: string
  readonly #events: PulseEvents
  readonly #heartbeat: number
  readonly #hearing: Hearing
  readonly #voice: Voice
  #echoedAt = 0
  #tickedAt = performance.now()
  /** When the link was restarted because of what peers hear. */
  #restartedAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  #looking: NodeJS.Timeout | undefined

  constructor(id: string, heartbeat: number, tell: Tell, events: PulseEvents) {
    this.#id = id
    this.#events = events
    this.#heartbeat = heartbeat
    this.#hearing = new Hearing(id)
    this.peers = new Peers({
      joined: (peer) => {
        this.beatTo(peer)
        events.joined(peer)
      },
      left: (peer, since) => {
        this.#hearing.left(peer)
        return events.left(peer, since)
      },
      missed: (peer, since) => events.missed(peer, since),
      outlived: (peer) => events.outlived(peer),
    })
    this.#voice = new Voice(id, this.peers, this.#hearing, heartbeat, tell)
  }

  start(): void {
    this.#beatLater()
    this.#lookLater()
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearTimeout(this.#looking)
  }

  /** The engine is there: what was heard before counts no more. */
  renew(now: number): void {
    this.#echoedAt = now
    this.peers.restored(now)
    this.#hearing.renew()
  }

  /** The engine has answered, with an echo or a refusal. */
  echoed(now: number): void {
    this.#echoedAt = now
  }

  /** This process did something else for a long time: it may not have read what has arrived. */
  late(now: number): void {
    this.echoed(now)
    this.peers.renew(now)
  }

  /** Whether an engine that echoes has not done so for too long. */
  isSilent(now: number): boolean {
    return now - this.#echoedAt > SILENCE * this.#heartbeat
  }

  /** @param echoes whether the engine gives this instance what it publishes */
  beatIfDue(now: number, wasLate: boolean, echoes: boolean): void {
    // Among many instances a beat to all is seldom; whether the engine lives is asked all the same.
    if (now - this.#voice.at > this.#voice.period - this.#heartbeat / 2) void this.beat(!wasLate)
    else if (echoes) this.#voice.beatToSelf()
  }

  /** @param isCurrent whether what it has heard of the others is of now */
  async beat(isCurrent = true): Promise<void> {
    if (await this.#voice.beat(performance.now(), isCurrent)) this.#events.taken()
  }

  beatTo(peer: string): void {
    this.#voice.beatTo(peer, performance.now())
  }

  /**
   * Tells the peers that have fallen silent that this instance does not hear them: a peer that is
   * alive would otherwise learn of it at the next beat only.
   */
  reportSilent(now: number): void {
    for (const peer of this.peers.late(now)) this.#voice.reportTo(peer, now)
  }

  /** Removes the peers that are gone. */
  expire(now: number): void {
    this.peers.expire(now, (peer) => this.#hearing.elsewhere(peer))
  }

  goodbye(): Promise<boolean> {
    return this.#voice.goodbye()
  }

  /** A peer has told what it hears. @returns false where this process was late, and it says nothing */
  noted(origin: string, note: HeardNote, now: number): boolean {
    this.#hearing.named(origin, note, now)
    const left = note.left.filter(({ id }) => id !== this.#id)
    this.peers.departed(left, this.#voice.period, now)
    if (this.#isLate(now)) return false
    this.#hearing.noted(origin, note, this.peers.knownAt(origin), this.#voice.period, now)
    return true
  }

  /** Whether a peer that is heard does not hear this instance. */
  get isDeafened(): boolean {
    return this.#hearing.deaf !== null
  }

  /** What is wrong with hearing; null where nothing is. */
  fault(now: number): HearingFault | null {
    return this.#hearing.fault(this.peers, this.#voice.period, now)
  }

  /** Whether the link may be restarted because of what peers hear: then it counts as restarted now. */
  mayRestart(now: number): boolean {
    if (now - this.#restartedAt < RESTART * this.#heartbeat) return false
    this.#restartedAt = now
    return true
  }

  /** Nothing was read while this process did something else: what it knows of the others is old. */
  #isLate(now: number): boolean {
    return now - this.#tickedAt > 1.25 * this.#heartbeat + 100
  }

  #beatLater(): void {
    this.#timer = setTimeout(() => {
      const now = performance.now()
      const wasLate = this.#isLate(now)
      this.#tickedAt = now
      this.#beatLater()
      this.#events.ticked(now, wasLate)
    }, this.#heartbeat)
    this.#timer.unref()
  }

  #lookLater(): void {
    const wait = this.#voice.period / LOOKS
    const due = performance.now() + wait
    this.#looking = setTimeout(() => {
      const now = performance.now()
      this.#lookLater()
      // After a blocked loop this timer runs before the beats that arrived meanwhile are read.
      if (now - due < wait && !this.#isLate(now)) this.#events.looked(now)
    }, wait)
    this.#looking.unref()
  }
}
