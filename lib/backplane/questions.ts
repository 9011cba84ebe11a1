// Questions to other instances, and the answers of this instance.
import type { Answer, Answers, Described, PeerAnswer } from './order.ts'
import { laterTurn, PART } from './parts.ts'
import type { Message } from './wire.ts'

/** The most answers in progress; further questions get no answer from this instance. */
const MOST_ANSWERS = 1_000
/** The time limit of an answer, in milliseconds: no instance waits longer. */
const LATEST = 10_000

interface Asked {
  readonly answers: Map<string, { count: number; members: Described[] }>
  readonly open: Set<string>
  readonly finish: () => void
}

/**
 * Questions that wait for answers of other instances. After its deadline, each resolves with the
 * answers so far.
 */
export class Questions {
  readonly #asked = new Map<number, Asked>()
  #last = 0

  /**
   * Waits for the answers of these instances.
   *
   * @param timeout in milliseconds
   * @param send receives the number of the question
   */
  ask(peers: readonly string[], timeout: number, send: (id: number) => void): Promise<Answers> {
    if (peers.length === 0) return Promise.resolve({ answers: [], missing: [] })
    const id = ++this.#last
    return new Promise((resolve) => {
      const timer = setTimeout(() => asked.finish(), timeout)
      const asked: Asked = {
        answers: new Map(),
        open: new Set(peers),
        finish: () => {
          clearTimeout(timer)
          this.#asked.delete(id)
          const whole = [...asked.answers].filter(([from]) => !asked.open.has(from))
          const answers = whole.map(([from, answer]): PeerAnswer => ({ from, ...answer }))
          resolve({ answers, missing: [...asked.open] })
        },
      }
      this.#asked.set(id, asked)
      send(id)
    })
  }

  /** Records an answer, or with `more` a part of one. */
  answered(id: number, from: string, { count, members }: Answer, more: boolean): void {
    const asked = this.#asked.get(id)
    if (!asked?.open.has(from)) return
    const answer = asked.answers.get(from)
    if (answer) answer.members.push(...members)
    else asked.answers.set(from, { count, members: [...members] })
    if (!more) this.#closed(asked, from)
  }

  /** Records that an instance left: its connections have ended. */
  left(peer: string): void {
    for (const asked of this.#asked.values()) {
      if (asked.open.has(peer)) {
        asked.answers.delete(peer)
        this.#closed(asked, peer)
      }
    }
  }

  /** Resolves all questions with the answers so far: further answers cannot arrive. */
  giveUp(): void {
    for (const asked of [...this.#asked.values()]) asked.finish()
  }

  #closed(asked: Asked, peer: string): void {
    asked.open.delete(peer)
    if (asked.open.size === 0) asked.finish()
  }
}

/**
 * Sends the answers of this instance in parts, each after the acknowledgement of the previous one.
 */
export class QuestionAnswers {
  #underway = 0

  async give(
    id: number,
    { count, members }: Answer,
    send: (message: Message) => Promise<unknown>,
    now: () => number,
  ): Promise<void> {
    if (this.#underway >= MOST_ANSWERS) return
    this.#underway++
    const began = now()
    for (let at = 0; ; ) {
      const part = members.slice(at, at + PART)
      at += PART
      const more = at < members.length
      await send({ kind: 'answer', id, count, members: part, more })
      if (!more || now() - began > LATEST) break
      await laterTurn()
    }
    this.#underway--
  }
}
