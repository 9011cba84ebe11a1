// Counts messages in both directions, by type.

import type {
  AnsweredEvent,
  HandledEvent,
  MessageEvent,
  RecoveryEvent,
  SentEvent,
} from '../index.ts'
import { Bounded } from './bounded.ts'
import type { Families } from './families.ts'
import type { Distribution, HistogramFamily, Series } from './family.ts'
import { recoveryReason } from './known.ts'

/** The most types of messages, and the most error codes, that have series of their own. */
const MOST_TYPES = 200
const MOST_CODES = 100

/** The system in the attributes of the conventions for RPC and messaging. */
export const SYSTEM = 'koaws'

/** A count and its bytes. */
class Flow {
  readonly #messages: Series
  readonly #bytes: Series

  constructor(messages: Series, bytes: Series) {
    this.#messages = messages
    this.#bytes = bytes
  }

  add(count: number, bytes: number): void {
    this.#messages.value += count
    this.#bytes.value += bytes
  }
}

/** What is counted for a handled message of one type and kind, without an error. */
interface Handled {
  readonly flow: Flow
  readonly duration: Distribution
  /** Messages without a reply only. */
  readonly consumed: Series | null
}

export class MessageCounts {
  readonly #families: Families
  readonly #types = new Bounded(MOST_TYPES)
  readonly #codes = new Bounded(MOST_CODES)
  readonly #text: Flow
  readonly #binary: Flow
  readonly #requests = new Map<string, Handled>()
  readonly #notes = new Map<string, Handled>()
  readonly #pushes = new Map<string, Flow>()
  readonly #kinds = new Map<string, Flow>()
  readonly #deliveries: Series
  readonly #broadcasts: Series
  readonly #calls: HistogramFamily
  readonly #processed: HistogramFamily
  readonly #asked: HistogramFamily

  constructor(families: Families) {
    this.#families = families
    this.#text = this.#flow('koaws.messages.received', 'text')
    this.#binary = this.#flow('koaws.messages.received', 'binary')
    this.#deliveries = families.one('koaws.broadcasts.deliveries')
    this.#broadcasts = families.one('koaws.broadcasts')
    this.#calls = families.histogram('rpc.server.call.duration')
    this.#processed = families.histogram('messaging.process.duration')
    this.#asked = families.histogram('rpc.client.call.duration')
  }

  /** How many measurements have the type or the code `_OTHER`. */
  get overflow(): number {
    return this.#types.overflow + this.#codes.overflow
  }

  received({ size, binary }: MessageEvent): void {
    const flow = binary ? this.#binary : this.#text
    flow.add(1, size)
  }

  handled({ type, isRequest, size, duration, code }: HandledEvent): void {
    const seconds = duration / 1000
    const known = isRequest ? this.#requests : this.#notes
    let handled = known.get(type)
    if (handled === undefined) {
      handled = this.#newHandled(this.#types.of(type), isRequest)
      // Types beyond the bound share one entry, and are looked up each time.
      if (this.#types.knows(type)) known.set(type, handled)
    }
    handled.flow.add(1, size)
    if (handled.consumed !== null) handled.consumed.value++
    if (code === undefined) handled.duration.record(seconds)
    else this.#failed(this.#types.of(type), isRequest, seconds, this.#codes.of(code))
  }

  /** A request of the server to a client. */
  answered({ type, duration, code }: AnsweredEvent): void {
    const error = code === undefined ? '' : this.#codes.of(code)
    this.#asked.at(SYSTEM, this.#types.of(type), error).record(duration / 1000)
  }

  sent({ connection, type, size, count }: SentEvent): void {
    const bytes = size * count
    const kind = kindOf(type)
    let flow = this.#kinds.get(kind)
    if (flow === undefined) {
      flow = this.#flow('koaws.messages.sent', kind)
      this.#kinds.set(kind, flow)
    }
    flow.add(count, bytes)
    if (kind === 'push' && type !== undefined) this.#pushFlow(type).add(count, bytes)
    if (connection !== undefined) return
    this.#broadcasts.value++
    this.#deliveries.value += count
  }

  recovered({ recovered, missed, reason }: RecoveryEvent): void {
    const outcome = recovered ? 'recovered' : 'refused'
    const counts = this.#families.sum('koaws.recoveries')
    counts.at(outcome, recoveryReason(reason)).value++
    if (missed !== null) this.#families.histogram('koaws.recovery.missed').at().record(missed)
  }

  #flow(name: string, ...values: string[]): Flow {
    const families = this.#families
    return new Flow(families.sum(name).at(...values), families.sum(`${name}.size`).at(...values))
  }

  #newHandled(type: string, isRequest: boolean): Handled {
    const consumed = this.#families.sum('messaging.client.consumed.messages')
    return {
      flow: this.#flow('koaws.messages.handled', type, isRequest ? 'request' : 'push'),
      duration: this.#durationOf(type, isRequest, ''),
      consumed: isRequest ? null : consumed.at(SYSTEM, 'process', type),
    }
  }

  #failed(type: string, isRequest: boolean, seconds: number, code: string): void {
    this.#durationOf(type, isRequest, code).record(seconds)
    this.#families.sum('koaws.messages.failed').at(type, code).value++
  }

  #durationOf(type: string, isRequest: boolean, code: string): Distribution {
    return isRequest
      ? this.#calls.at(SYSTEM, type, code)
      : this.#processed.at(SYSTEM, 'process', type, code)
  }

  #pushFlow(type: string): Flow {
    const known = this.#pushes.get(type)
    if (known !== undefined) return known
    const bounded = this.#types.of(type)
    const sent = this.#families.sum('messaging.client.sent.messages')
    const sizes = this.#families.sum('koaws.pushes.size')
    const flow = new Flow(sent.at(SYSTEM, 'push', bounded), sizes.at(bounded))
    if (this.#types.knows(type)) this.#pushes.set(type, flow)
    return flow
  }
}

/** Returns the kind of a sent message: the types of koaws itself begin with `koaws:`. */
function kindOf(type: string | undefined): 'push' | 'reply' | 'protocol' | 'other' {
  if (type === undefined) return 'other'
  if (type === 'koaws:reply' || type === 'koaws:error') return 'reply'
  return type.startsWith('koaws:') ? 'protocol' : 'push'
}
