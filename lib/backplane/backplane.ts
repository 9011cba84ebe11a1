// Joins the parts of a backplane: sender, receiver, subscriptions, pulse, recovery and health.

import { performance } from 'node:perf_hooks'
import { debugBackplane, messageOf } from '../debug.ts'
import { AdapterError } from '../errors.ts'
import { type Adapter, type AdapterLink, type EchoingLink, isEchoing } from './adapter.ts'
import { LinkHealth, reasonOf } from './health.ts'
import type { BackplaneHost, BackplaneStatus } from './host.ts'
import { type Answers, EVERYBODY, type Order, type Question, topicOfInstance } from './order.ts'
import { wait } from './parts.ts'
import { Pulse } from './pulse.ts'
import { Questions } from './questions.ts'
import { Receiver } from './receiver.ts'
import { Recovery } from './recovery.ts'
import { Sender } from './sender.ts'
import { Subscriptions } from './subscriptions.ts'
import type { Publication } from './turn-groups.ts'
import type { Tell } from './wire.ts'

/** How long a last goodbye may take, in milliseconds. */
const GOODBYE = 1_000

/** The line of one hub to all others: it publishes in order, delivers each message once, and knows the live instances. */
export class Backplane {
  readonly #host: BackplaneHost
  readonly #link: AdapterLink
  readonly #heartbeat: number
  readonly #sender: Sender
  readonly #subscriptions: Subscriptions
  readonly #health: LinkHealth
  readonly #pulse: Pulse
  readonly #recovery: Recovery
  readonly #questions = new Questions()
  #state: 'connecting' | 'ready' | 'degraded' = 'connecting'
  #wasReady = false
  /** A peer does not hear this instance: what is published waits until it does. */
  #isWithheld = false
  #closed = false

  constructor(adapter: Adapter, id: string, host: BackplaneHost) {
    this.#host = host
    this.#heartbeat = adapter.heartbeat ?? 2_000
    this.#health = new LinkHealth(({ state, why }, isFailure) => {
      debugBackplane('%s: %s', state, why)
      host.changed(this.status, why, isFailure)
    })
    const tell: Tell = (topic, message) => this.#sender.tell([topic], message)
    this.#recovery = new Recovery(host, tell, {
      isReady: () => this.#isReleased,
      flush: () => this.#sender.flush(),
      released: () => this.#released(),
    })
    this.#pulse = new Pulse(id, this.#heartbeat, tell, {
      joined: (peer) => {
        this.#recovery.joined(peer)
        host.joined(peer)
      },
      left: (peer, since) => {
        this.#questions.left(peer)
        const isReported = this.#recovery.left(peer, since)
        host.left(peer)
        return isReported
      },
      missed: (peer, since) => this.#recovery.missed(peer, since),
      outlived: (peer) => this.#recovery.outlived(peer),
      taken: () => {
        if (this.#health.current.state === 'ready') this.#wasReady = true
      },
      ticked: (now, wasLate) => this.#ticked(now, wasLate),
      looked: (now) => {
        if (this.#state === 'ready') this.#pulse.reportSilent(now)
      },
    })
    const questions = this.#questions
    const receiver = new Receiver({
      ...{ id, host, pulse: this.#pulse, recovery: this.#recovery, questions, tell },
      judge: (now) => this.#judge(now),
    })
    const guard = guardUntil(() => this.#closed)
    this.#link = adapter.connect(id, {
      received: guard((payload, topic) => receiver.received(payload, topic)),
      up: guard(() => this.#up()),
      down: guard((reason) => this.#down(reason)),
      failed: guard((reason) => {
        this.#health.failed(reasonOf(reason))
        this.#subscriptions.settle()
      }),
      impaired: guard((reason) => this.#health.fault('link', reason && reasonOf(reason))),
      gone: guard((peer) => this.#pulse.peers.gone(peer, performance.now())),
    })
    this.#subscriptions = new Subscriptions(this.#link, this.#recovery, this.#heartbeat)
    this.#sender = new Sender({
      ...{ id, host, link: this.#link, maxQueued: adapter.maxQueued },
      ...{ health: this.#health, pulse: this.#pulse, recovery: this.#recovery },
      unsure: (reason) => this.#down(reason),
    })
    for (const topic of [EVERYBODY, topicOfInstance(id)]) void this.subscribe(topic)
    this.#pulse.start()
  }

  get status(): BackplaneStatus {
    const { messages, bytes } = this.#sender.queue
    return {
      ...this.#health.current,
      queued: { messages, bytes },
      instances: this.#pulse.peers.size,
      expected: this.#link.expected,
      folder: this.#link.folder,
      lost: this.#recovery.lost,
    }
  }

  /** Whether the engine has been reached, and has taken what this instance says of itself. */
  get wasReady(): boolean {
    return this.#wasReady
  }

  /** The other instances that are known to live. */
  get peers(): string[] {
    return this.#pulse.peers.ids
  }

  /**
   * Subscribes to a topic. Resolves when messages on it arrive, or as soon as the engine is
   * unreachable: the subscription then begins with the next connection. Never rejects.
   */
  subscribe(topic: string): Promise<void> {
    return this.#subscriptions.add(topic, this.#state === 'ready' && !this.#closed)
  }

  unsubscribe(topic: string): void {
    this.#recovery.delete(topic)
    if (!this.#closed) this.#link.unsubscribe([topic])
  }

  /** Have all others carry out an order. Orders for the same rooms in one turn leave as one payload. */
  publish(order: Order): Publication {
    return this.#sender.publish(order)
  }

  /** Publishes what waits for the end of the turn. */
  flush(): void {
    this.#sender.flush()
  }

  /** Ask all others. Resolves at the latest after `timeout` milliseconds, with what has come. */
  ask(question: Question, timeout: number): Promise<Answers> {
    const peers = this.#pulse.peers.ids
    const isAble = this.#state === 'ready' && !this.#closed
    if (!isAble) return Promise.resolve({ answers: [], missing: peers })
    return this.#questions.ask(peers, timeout, (id) => {
      this.#sender.flush()
      void this.#sender.tell([EVERYBODY], { kind: 'question', id, question })
    })
  }

  /** Tell one other instance something. It waits while the engine is away. */
  note(to: string, text: string): void {
    this.#sender.note(to, text)
  }

  /** Say goodbye, and let go of the outside. Nothing is delivered from then on. Never rejects. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#sender.flush()
    if (this.#state === 'ready') {
      this.#recovery.release()
      const goodbye = this.#pulse.goodbye()
      const told = this.#recovery.end()
      await Promise.race([
        Promise.all([this.#sender.queue.drained(), goodbye, told]),
        wait(GOODBYE),
      ])
    }
    this.#closed = true
    this.#pulse.stop()
    this.#recovery.stop()
    const unsent = this.#sender.close()
    if (unsent > 0) this.#host.failed(unsent, 'the hub closed before the backplane accepted them')
    this.#questions.giveUp()
    this.#subscriptions.settle()
    await this.#link.close()
  }

  // ---- the engine

  #up(): void {
    if (this.#state === 'ready') return
    const now = performance.now()
    this.#pulse.renew(now)
    const wasCut = this.#recovery.up(now)
    this.#turn('ready', 'connected')
    void this.#pulse.beat()
    if (wasCut) {
      const { peers } = this.#pulse
      this.#recovery.askAll(peers.ids, (peer) => peers.beatAt(peer), now)
    } else this.#sender.queue.up()
  }

  /** All others listen, or were waited for long enough. */
  #released(): void {
    if (this.#pulse.isDeafened) {
      this.#isWithheld = true
      return
    }
    this.#sender.queue.up()
    this.#recovery.resume()
    this.#host.returned()
  }

  #down(reason: Error): void {
    if (this.#state !== 'ready') return
    this.#recovery.down()
    this.#pulse.peers.cut(performance.now())
    this.#sender.queue.down()
    this.#turn('degraded', reasonOf(reason))
    this.#questions.giveUp()
  }

  #turn(state: 'ready' | 'degraded', why: string): void {
    this.#state = state
    this.#sender.turn(state === 'ready')
    this.#health.turn(state, why)
    this.#subscriptions.settle()
  }

  /** What is published goes out at once. */
  get #isReleased(): boolean {
    return this.#state === 'ready' && !this.#recovery.isHeld && !this.#isWithheld
  }

  /** Hearing in one direction only: others do not get what this instance says, or it does not get theirs. */
  #judge(now: number): void {
    const fault = this.#pulse.fault(now)
    this.#health.fault('peers', fault?.why ?? null, fault?.isSplit)
    if (this.#state !== 'ready') return
    const isDeaf = this.#pulse.isDeafened
    if (isDeaf && !this.#isWithheld) this.#sender.queue.down()
    const isHeardAgain = !isDeaf && this.#isWithheld
    this.#isWithheld = isDeaf
    if (isHeardAgain && !this.#recovery.isHeld) this.#released()
    if (!fault?.isSplit || !fault.isFirm || !isEchoing(this.#link)) return
    // Another connection may lead elsewhere: to the primary of today, say.
    if (this.#pulse.mayRestart(now)) this.#restart(this.#link, fault.why)
  }

  #restart(link: EchoingLink, why: string): void {
    this.#down(new AdapterError('ERR_KOAWS_BACKPLANE', why))
    link.restart()
  }

  // ---- what happens from time to time

  #ticked(now: number, wasLate: boolean): void {
    if (this.#state === 'ready') this.#checkLine(now, wasLate)
    else this.#subscriptions.expire(now)
    this.#recovery.expire(now)
  }

  #checkLine(now: number, wasLate: boolean): void {
    const link = isEchoing(this.#link) ? this.#link : null
    if (wasLate) this.#pulse.late(now)
    if (link && this.#pulse.isSilent(now)) {
      this.#restart(link, 'this instance no longer receives its own messages')
      return
    }
    this.#pulse.beatIfDue(now, wasLate, link !== null)
    if (!wasLate) this.#judge(now)
    this.#pulse.expire(now)
    void this.#sender.probe()
    if (this.#isReleased) this.#recovery.repeat(this.#heartbeat)
  }
}

type Guard = <A extends unknown[]>(act: (...given: A) => void) => (...given: A) => void

/** Guards what an adapter calls: it runs until the line is closed, and never throws. */
function guardUntil(isClosed: () => boolean): Guard {
  return (act) =>
    (...given) => {
      if (isClosed()) return
      try {
        act(...given)
      } catch (error) {
        debugBackplane('an event of the adapter threw: %s', messageOf(error))
      }
    }
}
