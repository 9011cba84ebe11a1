// Sends the beats of this instance, and the peers that it hears.
import type { Hearing } from './hearing.ts'
import { type HeardNote, noteOf } from './notes.ts'
import { EVERYBODY, topicOfInstance } from './order.ts'
import type { Peers } from './peers.ts'
import type { Tell } from './wire.ts'

/** Sends beats, and reports which peers this instance hears. */
export class Voice {
  readonly #id: string
  readonly #peers: Peers
  readonly #hearing: Hearing
  readonly #heartbeat: number
  readonly #tell: Tell
  #number = 0
  /** Whether it said goodbye: a later beat would make others treat the instance as alive. */
  #isSilent = false
  #at = 0

  /** @param heartbeat how often this instance speaks among few, in milliseconds */
  constructor(id: string, peers: Peers, hearing: Hearing, heartbeat: number, tell: Tell) {
    this.#id = id
    this.#peers = peers
    this.#hearing = hearing
    this.#heartbeat = heartbeat
    this.#tell = tell
  }

  /** When the last beat to all was: monotonic. */
  get at(): number {
    return this.#at
  }

  /** In how many milliseconds the next beat follows. */
  get period(): number {
    return this.#peers.period(this.#heartbeat)
  }

  /**
   * Sends a beat to all others.
   *
   * @param isCurrent whether the knowledge about the peers is up to date
   * @returns whether the engine accepted it
   */
  beat(now: number, isCurrent: boolean): Promise<boolean> {
    if (this.#isSilent) return Promise.resolve(false)
    this.#at = now
    this.#hearing.beat(++this.#number, now)
    if (isCurrent) this.#tellHeard(EVERYBODY, this.#peers.named(now))
    return this.#say(EVERYBODY, this.period)
  }

  /** Sends a beat to a new instance at once. */
  beatTo(peer: string, now: number): void {
    if (this.#isSilent) return
    this.#tellHeard(topicOfInstance(peer), this.#peers.namedTo(peer, now))
    void this.#say(topicOfInstance(peer), this.period)
  }

  /** Tells a peer whether this instance hears it. */
  reportTo(peer: string, now: number): void {
    if (!this.#isSilent) this.#tellHeard(topicOfInstance(peer), this.#peers.namedTo(peer, now))
  }

  /** Sends a beat to this instance, to request an echo. */
  beatToSelf(): void {
    if (!this.#isSilent) void this.#say(topicOfInstance(this.#id), this.period)
  }

  /** Says goodbye to all others, and stays silent afterwards. */
  goodbye(): Promise<boolean> {
    this.#isSilent = true
    this.#number++
    return this.#say(EVERYBODY, 0)
  }

  #tellHeard(topic: string, heard: Omit<HeardNote, 'type'>): void {
    void this.#tell(topic, noteOf({ type: 'heard', ...heard }))
  }

  #say(topic: string, period: number): Promise<boolean> {
    return this.#tell(topic, { kind: 'beat', number: this.#number, period })
  }
}
