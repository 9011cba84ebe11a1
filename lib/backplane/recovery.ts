// What this instance or another one missed, and what is held after a cut.

import { performance } from 'node:perf_hooks'
import { debugBackplane } from '../debug.ts'
import { Arrivals } from './arrivals.ts'
import { OrderIntake } from './channels.ts'
import { Hold } from './hold.ts'
import type { BackplaneHost } from './host.ts'
import type { BackplaneNote } from './notes.ts'
import type { Loss } from './order.ts'
import { Origins } from './origins.ts'
import { type AnsweringLine, PositionAnswers } from './position-answers.ts'
import { PositionRequests } from './position-requests.ts'
import { QuietTopics } from './quiet-topics.ts'
import { REMEMBERED, Tops } from './tops.ts'
import type { Message, Numbered, Tell, Top } from './wire.ts'

/** The line that recovers its messages. */
export interface RecoveringLine extends AnsweringLine {
  /** All other instances listen, or were waited for long enough. */
  released(): void
}

/** What this instance has missed of others, and how others find out what they missed of it. */
export class Recovery {
  readonly #host: BackplaneHost
  readonly #tops = new Tops(performance.now())
  readonly #arrivals: Arrivals
  readonly #intake: OrderIntake
  readonly #origins = new Origins()
  readonly #requests: PositionRequests
  readonly #answers: PositionAnswers
  readonly #quiet: QuietTopics
  readonly #hold: Hold
  /** When the last cut began. */
  #cutAt: number | null = null
  #lost = 0

  constructor(host: BackplaneHost, tell: Tell, line: RecoveringLine) {
    this.#host = host
    this.#arrivals = new Arrivals((loss) => this.#missed(loss))
    this.#intake = new OrderIntake(this.#arrivals, (...given) => host.deliver(...given))
    this.#requests = new PositionRequests(this.#arrivals, tell, monotonic)
    this.#answers = new PositionAnswers(this.#tops, tell, line, monotonic)
    this.#quiet = new QuietTopics(this.#tops, line, tell)
    this.#hold = new Hold(() => line.released())
  }

  /** How many messages of others are known to have been missed here. */
  get lost(): number {
    return this.#lost
  }

  /** Whether what waits after a cut is held until the other instances listen. */
  get isHeld(): boolean {
    return this.#hold.isHeld
  }

  /** A topic is about to be subscribed. @returns what to call when the subscription holds */
  add(topic: string): () => void {
    const addedAt = this.#arrivals.add(topic, performance.now())
    return () => this.#arrivals.hold(topic, performance.now(), addedAt)
  }

  delete(topic: string): void {
    this.#arrivals.delete(topic, performance.now())
  }

  /** Numbers orders on their topics. */
  number(topics: readonly string[], orders: number, now: number): Numbered[] {
    return this.#tops.take(topics, orders, now)
  }

  // ---- the engine

  /** The engine is there. @returns whether it was away before: then {@link Recovery.askAll} follows */
  up(now: number): boolean {
    for (const topic of this.#arrivals.topics) this.#arrivals.hold(topic, now)
    return this.#cutAt !== null
  }

  /**
   * Asks the others what was missed since the cut, and holds what waits until they listen.
   *
   * @param beatAt gives when the last beat of a peer came
   */
  askAll(peers: readonly string[], beatAt: (peer: string) => number, now: number): void {
    if (this.#cutAt === null) return
    if (now - this.#cutAt > REMEMBERED) this.#arrivals.unknown('')
    this.#requests.askAll(peers, beatAt)
    this.#hold.begin(peers)
  }

  /** What was held has gone out: instances that asked meanwhile get their answers. */
  resume(): void {
    void this.#answers.resume()
  }

  /** The engine is away. */
  down(): void {
    this.#cutAt = performance.now()
    this.#hold.stop()
    this.#requests.stop()
    this.#answers.clear()
  }

  /** The instance ends: what is held goes out. */
  release(): void {
    this.#hold.release()
  }

  /** The instance ends: the last numbers are told. */
  end(): Promise<void> {
    return this.#quiet.end(monotonic)
  }

  stop(): void {
    this.#hold.stop()
  }

  // ---- the other instances

  /** A new peer: it may have spoken before the two could hear each other. */
  joined(peer: string): void {
    this.#requests.ask(peer, this.#origins.back(peer))
  }

  /** @param since what it published before has arrived */
  missed(peer: string, since: number): void {
    this.#requests.ask(peer, since)
  }

  /** @param since what it published before has arrived. @returns whether a loss was reported */
  left(peer: string, since: number): boolean {
    this.#origins.left(peer, since)
    this.#answers.left(peer)
    this.#hold.heard(peer)
    return this.#requests.left(peer)
  }

  /** Another instance heard later beats of a peer that is gone. */
  outlived(peer: string): void {
    this.#arrivals.unknown(peer)
  }

  /** Something of another instance was received. */
  received(origin: string, now: number): void {
    this.#origins.received(origin, now)
  }

  orders(
    origin: string,
    message: Extract<Message, { kind: 'orders' }>,
    now: number,
    payload: Buffer,
    topic: string | undefined,
  ): void {
    this.#intake.arrived(origin, message, now, payload, topic)
  }

  /** What another instance sent has been handled: it listens. */
  heard(origin: string): void {
    this.#hold.heard(origin)
  }

  /** Another instance tells where its topics stand. */
  compare(origin: string, tops: readonly Top[], now: number): void {
    this.#arrivals.compare(origin, tops, now)
    this.#requests.moved(origin)
  }

  asked(origin: string, note: Extract<BackplaneNote, { type: 'ask' }>): void {
    this.#answers.asked(origin, note)
  }

  told(origin: string, { number, forgotten }: Extract<BackplaneNote, { type: 'told' }>): void {
    this.#requests.told(origin, number, forgotten)
  }

  // ---- from time to time

  /** Asks again and tells again, once per heartbeat. An instance that was asked may have been cut off before it answered. */
  repeat(heartbeat: number): void {
    this.#requests.repeat(heartbeat)
    void this.#quiet.tell(monotonic)
  }

  expire(now: number): void {
    this.#intake.expire()
    this.#tops.forget(now)
    this.#arrivals.expire(now)
    for (const origin of this.#origins.expire(now)) this.#arrivals.forget(origin)
  }

  #missed(loss: Loss): void {
    this.#lost += loss.count
    debugBackplane('lost %d messages for %s from %s', loss.count, loss.topic, loss.from)
    this.#host.lost(loss)
  }
}

function monotonic(): number {
  return performance.now()
}
