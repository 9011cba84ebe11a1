/** How the client is, as one immutable object. */
export interface ClientState {
  /**
   * `connecting`: on the way, or nothing was opened yet. `open`: messages go through. `waiting`: the
   * next attempt comes at `retryAt`. `stopped`: no further attempt, unless `open()` is called.
   */
  readonly status: 'connecting' | 'open' | 'waiting' | 'stopped'
  /** When the next attempt comes, in epoch milliseconds, where the status is `waiting`. */
  readonly retryAt?: number
  /** The close code of the last connection, where the status is `waiting` or `stopped`. */
  readonly code?: number
  /** Why, in words, where that is known. */
  readonly reason?: string
  /** The id that the server gave this connection, where the status is `open`. */
  readonly connection?: string
}

/** A state as it is set: what is undefined, is left out. */
export type NextState = { [K in keyof ClientState]: ClientState[K] | undefined } & {
  status: ClientState['status']
}

/** Holds the state, and tells who wants to know. */
export interface Store {
  readonly state: ClientState
  /** Take a state, and tell the subscribers if it is another one. */
  set(next: NextState): void
  subscribe(fn: () => void): () => void
}

/** A store for a client that has not begun. `guard` calls a subscriber, which may throw. */
export function createStore(guard: (fn: () => void) => void): Store {
  let state: ClientState = Object.freeze({ status: 'connecting' })
  const subscribers = new Set<{ fn: () => void }>()
  return {
    get state() {
      return state
    },
    set(next) {
      const text = JSON.stringify({ ...next, reason: next.reason || undefined })
      if (text === JSON.stringify(state)) return
      state = Object.freeze(JSON.parse(text) as ClientState)
      for (const { fn } of [...subscribers]) guard(fn)
    },
    subscribe(fn) {
      const entry = { fn }
      subscribers.add(entry)
      return () => {
        subscribers.delete(entry)
      }
    },
  }
}
