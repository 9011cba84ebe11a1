import { performance } from 'node:perf_hooks'
import { flushAtEndOfTurn } from '../connection/turn.ts'
import { debugBackplane, messageOf } from '../debug.ts'
import { AdapterError } from '../errors.ts'
import type { Adapter, AdapterEvents, AdapterLink, EchoingLink } from './adapter.ts'
import { Arrivals } from './arrivals.ts'
import {
  type Answer,
  type Answers,
  EVERYBODY,
  type Loss,
  type Order,
  type Question,
  topicOfInstance,
} from './order.ts'
import { Peers } from './peers.ts'
import { Questions } from './questions.ts'
import { SendQueue } from './send-queue.ts'
import { REMEMBERED, Tops } from './tops.ts'
import { type Publication, TurnGroups } from './turn-groups.ts'
import { decode, encode, type Message } from './wire.ts'

/** What one instance acts on and is told. None of these may throw. */
export interface BackplaneHost {
  /** Carry out what another instance asks. */
  deliver(order: Order, from: string): void
  answer(question: Question): Answer
  /** Something that was published for members here did not arrive, and will not. */
  lost(loss: Loss): void
  /** Orders that other instances will not get. */
  failed(orders: number, why: string): void
  /** Something arrived that koaws did not write, or another version of it did. */
  foreign(): void
  noted(from: string, text: string): void
  joined(id: string): void
  left(id: string): void
  changed(status: BackplaneStatus, why: string): void
  /** This instance was cut off and is back: others may have missed it, and it others. */
  returned(): void
}

/** How the system outside is doing. */
export interface BackplaneStatus {
  /**
   * `none`: there is no other instance to tell. `connecting`: it was not there yet. `degraded`: it is
   * away, and what is sent reaches this instance only until it is back.
   */
  readonly state: 'none' | 'connecting' | 'ready' | 'degraded'
  /** Since when, in epoch milliseconds. */
  readonly since: number
  /** What waits for it: payloads and bytes. */
  readonly queued: { readonly messages: number; readonly bytes: number }
  /** How many other instances are known to live. */
  readonly instances: number
  /** How many messages of others are known to have been missed here, at least. */
  readonly lost: number
}

/** So many members go into one part of an answer, and so many tops into one payload. */
const PART = 1_000
/** How long a last goodbye may take, in milliseconds. */
const GOODBYE = 1_000
/**
 * When the engine is back, the others need not be yet: what waits is held until all of them have been
 * heard, at most so long, in milliseconds.
 */
const HOLD = 2_000
/** So many periods without an echo, and the engine hangs. */
const SILENCE = 2.5
/** Origins are remembered for longer than they remember, in milliseconds. */
const MARGIN = 60_000

const SYNC: Message = { kind: 'sync' }

/** The line of one hub to all others: what is published, in order; what arrives, once; and who is there. */
export class Backplane {
  readonly #id: string
  readonly #host: BackplaneHost
  readonly #link: AdapterLink
  readonly #heartbeat: number
  readonly #queue: SendQueue
  readonly #groups = new TurnGroups()
  readonly #tops = new Tops(performance.now())
  readonly #arrivals: Arrivals
  readonly #origins = new Map<string, number>()
  readonly #peers: Peers
  readonly #questions = new Questions()
  /** Subscriptions that somebody waits for. */
  readonly #waiting = new Set<() => void>()
  #state: 'connecting' | 'ready' | 'degraded' = 'connecting'
  #since = Date.now()
  #lost = 0
  #beats = 0
  #beatAt = 0
  #echoedAt = 0
  #tickedAt = performance.now()
  /** When the last cut began. */
  #cutAt: number | null = null
  /** Those who have not been heard since the engine is back; null when nothing is held for them. */
  #awaited: Set<string> | null = null
  /** Those who have not said what was missed of them during the last cut. */
  #unsynced = new Set<string>()
  #holding: NodeJS.Timeout | undefined
  /** Those who want the tops, once nothing is held. */
  readonly #askers = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  /** It has said goodbye: after another beat others would take it for alive. */
  #leaving = false
  #closed = false

  constructor(adapter: Adapter, id: string, host: BackplaneHost) {
    this.#id = id
    this.#host = host
    this.#heartbeat = adapter.heartbeat ?? 2_000
    this.#arrivals = new Arrivals((loss) => this.#missed(loss))
    this.#peers = new Peers({
      joined: (peer) => {
        this.#beatTo(peer)
        // It may have spoken before the two could hear each other.
        void this.#own([topicOfInstance(peer)], SYNC)
        host.joined(peer)
      },
      left: (peer) => {
        this.#questions.left(peer)
        this.#heard(peer)
        if (this.#unsynced.delete(peer)) this.#arrivals.unknown(peer)
        host.left(peer)
      },
      missed: (peer) => void this.#own([topicOfInstance(peer)], SYNC),
    })
    this.#link = adapter.connect(id, this.#events())
    this.#queue = new SendQueue(this.#link, adapter.maxQueued, {
      failed: (orders, why) => {
        if (orders > 0) host.failed(orders, why)
      },
      unsure: (reason) => this.#down(reason),
      // What says no is alive.
      refused: () => {
        this.#echoedAt = performance.now()
      },
    })
    for (const topic of [EVERYBODY, topicOfInstance(id)]) void this.subscribe(topic)
    this.#schedule()
  }

  get status(): BackplaneStatus {
    return {
      state: this.#state,
      since: this.#since,
      queued: { messages: this.#queue.messages, bytes: this.#queue.bytes },
      instances: this.#peers.size,
      lost: this.#lost,
    }
  }

  /** The other instances that are known to live. */
  get peers(): string[] {
    return this.#peers.ids
  }

  /**
   * From now on deliver what is for this topic. Resolves when that holds on the outside, or as soon as
   * the engine is away: then it will hold when it is back. Never rejects.
   */
  subscribe(topic: string): Promise<void> {
    this.#arrivals.add(topic)
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#waiting.delete(settle)
        resolve()
      }
      this.#waiting.add(settle)
      this.#link.subscribe([topic]).then(() => {
        this.#arrivals.hold(topic, performance.now())
        settle()
      }, settle)
      if (this.#state === 'degraded' || this.#closed) settle()
    })
  }

  unsubscribe(topic: string): void {
    this.#arrivals.delete(topic)
    if (!this.#closed) this.#link.unsubscribe([topic])
  }

  /** Have all others carry out an order. Orders for the same rooms in one turn leave as one payload. */
  publish(order: Order): Publication {
    if (this.#groups.isEmpty) flushAtEndOfTurn(this)
    return this.#groups.add(order)
  }

  /** The turn has ended. */
  flush(): void {
    const now = performance.now()
    const isHeld = this.#state !== 'ready' || this.#awaited !== null
    for (const { topics, orders, publication, volatile } of this.#groups.take()) {
      if (this.#closed) {
        publication.settle('failed')
        this.#host.failed(orders.length, 'the hub is closed')
        continue
      }
      let positions = this.#tops.take(topics, orders.length, now)
      // Nobody can say how long before its arrival something was published that waits here.
      if (isHeld) positions = positions.map((one) => ({ ...one, after: null }))
      const payload = encode(this.#id, { kind: 'orders', positions, orders })
      this.#queue.add(topics, payload, orders.length, publication, volatile)
    }
  }

  /** Ask all others. Resolves at the latest after `timeout` milliseconds, with what has come. */
  ask(question: Question, timeout: number): Promise<Answers> {
    const peers = this.#peers.ids
    if (this.#state !== 'ready') return Promise.resolve({ answers: [], missing: peers })
    return this.#questions.ask(peers, timeout, (id) => {
      this.flush()
      void this.#own([EVERYBODY], { kind: 'question', id, question })
    })
  }

  /** Tell one other instance something. It waits while the engine is away. */
  note(to: string, text: string): void {
    if (this.#closed) return
    this.flush()
    const payload = encode(this.#id, { kind: 'note', text })
    this.#queue.add([topicOfInstance(to)], payload, 0, null)
  }

  /** Say goodbye, and let go of the outside. Nothing is delivered from then on. Never rejects. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.flush()
    if (this.#state === 'ready') {
      this.#release()
      this.#leaving = true
      const goodbye = this.#own([EVERYBODY], { kind: 'beat', number: ++this.#beats, period: 0 })
      await Promise.race([Promise.all([this.#queue.drained(), goodbye]), wait(GOODBYE)])
    }
    this.#closed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#holding)
    const unsent = this.#queue.clear()
    if (unsent > 0) this.#host.failed(unsent, 'the hub closed before the backplane was back')
    this.#questions.giveUp()
    this.#settleWaiting()
    await this.#link.close()
  }

  // ---- what the engine tells

  #events(): AdapterEvents {
    const guard =
      <A extends unknown[]>(act: (...given: A) => void) =>
      (...given: A): void => {
        if (this.#closed) return
        try {
          act(...given)
        } catch (error) {
          debugBackplane('an event of the adapter failed: %s', messageOf(error))
        }
      }
    return {
      received: guard((payload) => this.#received(payload)),
      up: guard(() => this.#up()),
      down: guard((reason) => this.#down(reason)),
      gone: guard((id) => this.#peers.gone(id)),
    }
  }

  #up(): void {
    if (this.#state === 'ready') return
    const now = performance.now()
    this.#echoedAt = now
    this.#peers.renew(now)
    for (const topic of this.#arrivals.topics) this.#arrivals.hold(topic, now)
    this.#turn('ready', 'it is there')
    this.#settleWaiting()
    this.#beat()
    if (this.#cutAt === null) {
      this.#queue.up()
      return
    }
    if (now - this.#cutAt > REMEMBERED) this.#arrivals.unknown('')
    this.#awaited = new Set(this.#peers.ids)
    this.#unsynced = new Set(this.#peers.ids)
    void this.#own([EVERYBODY], SYNC)
    this.#holding = setTimeout(() => this.#release(), HOLD)
    this.#holding.unref()
    if (this.#awaited.size === 0) this.#release()
  }

  /** Another instance listens, or is gone. @returns whether it was awaited */
  #heard(peer: string): boolean {
    if (!this.#awaited?.delete(peer)) return false
    if (this.#awaited.size === 0) this.#release()
    return true
  }

  /** Everybody is there, or was waited for long enough. */
  #release(): void {
    if (!this.#awaited) return
    this.#awaited = null
    clearTimeout(this.#holding)
    this.#queue.up()
    for (const asker of this.#askers) this.#tellAll(asker)
    this.#askers.clear()
    this.#host.returned()
  }

  #down(reason: Error): void {
    if (this.#state !== 'ready') return
    this.#cutAt = performance.now()
    this.#awaited = null
    clearTimeout(this.#holding)
    this.#askers.clear()
    this.#queue.down()
    this.#turn('degraded', messageOf(reason))
    this.#settleWaiting()
    this.#questions.giveUp()
  }

  #turn(state: 'ready' | 'degraded', why: string): void {
    this.#state = state
    this.#since = Date.now()
    debugBackplane('%s: %s', state, why)
    this.#host.changed(this.status, why)
  }

  #received(payload: Buffer): void {
    let origin: string
    let message: Message
    try {
      ;({ origin, message } = decode(payload))
    } catch (error) {
      debugBackplane('something foreign arrived: %s', messageOf(error))
      this.#host.foreign()
      return
    }
    const now = performance.now()
    if (origin === this.#id) {
      if (message.kind === 'beat') this.#echoedAt = now
      return
    }
    this.#origins.set(origin, now)
    this.#act(origin, message, now)
    // It was away too when it was asked, and could not answer.
    if (this.#heard(origin) && message.kind !== 'tops') {
      void this.#own([topicOfInstance(origin)], SYNC)
    }
  }

  #act(origin: string, message: Message, now: number): void {
    switch (message.kind) {
      case 'orders':
        if (this.#arrivals.arrived(origin, message.positions, message.orders.length, now)) {
          for (const order of message.orders) this.#host.deliver(order, origin)
        }
        break
      case 'beat':
        this.#peers.heard(origin, message.number, message.period, now)
        break
      case 'question':
        this.#answer(origin, message.id, this.#host.answer(message.question))
        break
      case 'answer':
        this.#questions.answered(message.id, origin, message, message.more)
        break
      case 'sync':
        if (this.#awaited) {
          this.#askers.add(origin)
          this.#beatTo(origin)
        } else this.#tellAll(origin)
        break
      case 'tops':
        this.#arrivals.compare(origin, message.tops, now)
        if (message.last) this.#synced(origin, message.forgotten ?? Infinity, now)
        break
      case 'note':
        this.#host.noted(origin, message.text)
    }
  }

  /** An instance has told all its tops. @param forgotten for how long it has not given up any */
  #synced(origin: string, forgotten: number, now: number): void {
    this.#unsynced.delete(origin)
    if (forgotten < now - (this.#cutAt ?? now)) this.#arrivals.unknown(origin)
  }

  #answer(to: string, id: number, { count, members }: Answer): void {
    let at = 0
    do {
      const part = members.slice(at, at + PART)
      at += PART
      const more = at < members.length
      void this.#own([topicOfInstance(to)], { kind: 'answer', id, count, members: part, more })
    } while (at < members.length)
  }

  /** All that this instance remembers of what it published. */
  #tellAll(peer: string): void {
    this.flush()
    const now = performance.now()
    const [tops, forgotten] = [this.#tops.all(now), this.#tops.forgotten(now)]
    let at = 0
    do {
      const part = tops.slice(at, at + PART)
      at += PART
      const last = at >= tops.length
      void this.#own([topicOfInstance(peer)], { kind: 'tops', tops: part, forgotten, last })
    } while (at < tops.length)
  }

  #missed(loss: Loss): void {
    this.#lost += loss.count
    debugBackplane('%d for %s did not arrive from %s', loss.count, loss.topic, loss.from)
    this.#host.lost(loss)
  }

  // ---- what happens from time to time

  #schedule(): void {
    this.#timer = setTimeout(() => this.#tick(), this.#heartbeat)
    this.#timer.unref()
  }

  get #period(): number {
    return this.#peers.period(this.#heartbeat)
  }

  #tick(): void {
    const now = performance.now()
    // Nothing was read while this process did something else: silence says nothing then.
    const wasAsleep = now - this.#tickedAt > 1.5 * this.#heartbeat + 500
    this.#tickedAt = now
    if (this.#state === 'ready') {
      if (wasAsleep) {
        this.#echoedAt = now
        this.#peers.renew(now)
      }
      if (echoes(this.#link) && now - this.#echoedAt > SILENCE * this.#heartbeat) {
        this.#down(new AdapterError('ERR_KOAWS_BACKPLANE', 'nothing that was published came back'))
        this.#link.restart()
      } else {
        // Among many instances a beat to all is seldom; whether the engine lives is asked all the same.
        if (now - this.#beatAt > this.#period - this.#heartbeat / 2) this.#beat()
        else if (echoes(this.#link)) this.#beatTo(this.#id)
        this.#peers.expire(now)
        if (!this.#awaited) {
          // Whoever was asked may have been cut off before it answered.
          for (const peer of this.#unsynced) void this.#own([topicOfInstance(peer)], SYNC)
          for (const top of this.#tops.quiet(now)) {
            const tops: Message = { kind: 'tops', tops: [top], forgotten: undefined, last: false }
            void this.#own([top.topic], tops)
          }
        }
      }
    }
    this.#tops.forget(now)
    this.#forgetOrigins(now)
    this.#schedule()
  }

  #beat(): void {
    if (this.#leaving) return
    this.#beatAt = performance.now()
    const beat: Message = { kind: 'beat', number: ++this.#beats, period: this.#period }
    void this.#own([EVERYBODY], beat)
  }

  /** Somebody new: it need not wait to hear of this instance. */
  #beatTo(peer: string): void {
    if (this.#leaving) return
    const beat: Message = { kind: 'beat', number: this.#beats, period: this.#period }
    void this.#own([topicOfInstance(peer)], beat)
  }

  #forgetOrigins(now: number): void {
    for (const [origin, at] of this.#origins) {
      if (now - at < REMEMBERED + MARGIN) continue
      this.#origins.delete(origin)
      this.#arrivals.forget(origin)
    }
  }

  // ---- the rest

  /** What instances tell each other of themselves: of no use later. */
  async #own(topics: readonly string[], message: Message): Promise<void> {
    if (this.#state === 'ready') await this.#queue.urgent(topics, encode(this.#id, message))
  }

  #settleWaiting(): void {
    for (const settle of [...this.#waiting]) settle()
  }
}

function echoes(link: AdapterLink): link is EchoingLink {
  return (link as Partial<EchoingLink>).echoes === true
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
