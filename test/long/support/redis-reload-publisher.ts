import type { Answer, ReloadClient } from './redis-reload-clients.ts'

/** A message that a server has answered. */
export interface Published extends Answer {
  readonly key: string
  readonly room: string
  readonly verdict: string
}

/** A message with an unknown result, and when it was sent. */
export type Unsure = Pick<Published, 'key' | 'room' | 'at'>

/** Has clients publish in their rooms, one after the other. */
export class Publisher {
  readonly published: Published[] = []
  readonly unsure: Unsure[] = []
  /** Turns that were skipped because the client was away. */
  skipped = 0
  readonly #clients: readonly ReloadClient[]
  readonly #next: number[]
  readonly #pending = new Set<Promise<void>>()
  #turn = 0
  #timer: NodeJS.Timeout | undefined

  constructor(clients: readonly ReloadClient[]) {
    this.#clients = clients
    this.#next = clients.map(() => 0)
  }

  begin(perSecond: number): void {
    const began = performance.now()
    this.#timer = setInterval(() => {
      const due = ((performance.now() - began) * perSecond) / 1000
      for (; this.#turn < due; this.#turn++) this.#one(this.#turn % this.#clients.length)
    }, 1000 / perSecond)
  }

  async end(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#pending)
  }

  #one(p: number): void {
    const client = this.#clients[p] as ReloadClient
    if (!client.isIn) {
      this.skipped++
      return
    }
    const s = this.#next[p] as number
    this.#next[p] = s + 1
    const { room } = client
    const key = `${p}:${s}`
    const at = Date.now()
    const said = client.say({ p, s, room }).then(
      ({ verdict = 'none', ...rest }) => void this.published.push({ key, room, verdict, ...rest }),
      () => void this.unsure.push({ key, room, at }),
    )
    this.#pending.add(said)
    void said.then(() => this.#pending.delete(said))
  }
}
