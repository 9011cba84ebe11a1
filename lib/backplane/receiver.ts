// The receiving side: decodes and checks each payload, and passes it to the part that handles it.

import { performance } from 'node:perf_hooks'
import { debugBackplane, messageOf } from '../debug.ts'
import { Garbage } from './bytes.ts'
import { belongsOn } from './channels.ts'
import type { BackplaneHost } from './host.ts'
import { type BackplaneNote, readNote } from './notes.ts'
import { topicOfInstance } from './order.ts'
import type { Pulse } from './pulse.ts'
import { QuestionAnswers, type Questions } from './questions.ts'
import type { Recovery } from './recovery.ts'
import { decode, type Message, type Tell } from './wire.ts'

/** What the receiving side works with. */
export interface ReceiverParts {
  readonly id: string
  readonly host: BackplaneHost
  readonly pulse: Pulse
  readonly recovery: Recovery
  readonly questions: Questions
  readonly tell: Tell
  /** A peer has told what it hears. */
  judge(now: number): void
}

/** The receiving side: each payload is decoded, checked, and given to the part that it is for. */
export class Receiver {
  readonly #parts: ReceiverParts
  readonly #answers = new QuestionAnswers()

  constructor(parts: ReceiverParts) {
    this.#parts = parts
  }

  received(payload: Buffer, topic: string | undefined): void {
    const { id, host, pulse, recovery } = this.#parts
    let origin: string
    let message: Message
    try {
      ;({ origin, message } = decode(payload))
      if (topic !== undefined && !belongsOn(topic, message, id)) {
        throw new Garbage(
          `a message of the kind ${message.kind} does not belong on the topic ${topic}`,
        )
      }
    } catch (error) {
      debugBackplane('ignored a foreign message: %s', messageOf(error))
      host.foreign()
      return
    }
    const now = performance.now()
    if (origin === id) {
      if (message.kind === 'beat') pulse.echoed(now)
      return
    }
    recovery.received(origin, now)
    pulse.peers.received(origin, now)
    if (message.kind === 'orders') recovery.orders(origin, message, now, payload, topic)
    else this.#act(origin, message, now)
    recovery.heard(origin)
  }

  #act(origin: string, message: Exclude<Message, { kind: 'orders' }>, now: number): void {
    const { host, pulse, recovery, questions, tell } = this.#parts
    switch (message.kind) {
      case 'beat':
        pulse.peers.heard(origin, message.number, message.period, now)
        break
      case 'question':
        void this.#answers.give(
          message.id,
          host.answer(message.question),
          (part) => tell(topicOfInstance(origin), part),
          () => performance.now(),
        )
        break
      case 'answer':
        questions.answered(message.id, origin, message, message.more)
        break
      case 'tops':
        recovery.compare(origin, message.tops, now)
        break
      case 'note': {
        const note = readNote(message.text)
        if (note) this.#noted(origin, note, now)
        else host.noted(origin, message.text)
      }
    }
  }

  #noted(origin: string, note: BackplaneNote, now: number): void {
    const { pulse, recovery } = this.#parts
    switch (note.type) {
      case 'ask':
        recovery.asked(origin, note)
        if (recovery.isHeld && note.last) pulse.beatTo(origin)
        break
      case 'told':
        recovery.told(origin, note)
        break
      case 'heard':
        if (pulse.noted(origin, note, now)) this.#parts.judge(now)
    }
  }
}
