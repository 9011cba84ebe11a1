import type { Answer, Answers, Described, PeerAnswer } from './order.ts'

interface Asked {
  readonly answers: Map<string, { count: number; members: Described[] }>
  readonly open: Set<string>
  readonly finish: () => void
}

/** Questions to other instances that wait for answers. Each is answered in part at its deadline. */
export class Questions {
  readonly #asked = new Map<number, Asked>()
  #last = 0

  /**
   * Wait for the answers of these instances.
   *
   * @param send is given the number of the question
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

  /** An answer, or with `more` a part of one. */
  answered(id: number, from: string, { count, members }: Answer, more: boolean): void {
    const asked = this.#asked.get(id)
    if (!asked?.open.has(from)) return
    const answer = asked.answers.get(from)
    if (answer) answer.members.push(...members)
    else asked.answers.set(from, { count, members: [...members] })
    if (!more) this.#closed(asked, from)
  }

  /** An instance has left: whoever was connected to it is no member any more. */
  left(peer: string): void {
    for (const asked of this.#asked.values()) {
      if (asked.open.has(peer)) {
        asked.answers.delete(peer)
        this.#closed(asked, peer)
      }
    }
  }

  /** No answer can come any more. */
  giveUp(): void {
    for (const asked of [...this.#asked.values()]) asked.finish()
  }

  #closed(asked: Asked, peer: string): void {
    asked.open.delete(peer)
    if (asked.open.size === 0) asked.finish()
  }
}
