// The state of a client, and its subscribers.

/** The state of a client, as one immutable object. */
export interface ClientState {
  /**
   * `connecting`: an attempt is under way, or the client has not started. `open`: messages are
   * sent. `waiting`: the next attempt starts at `retryAt`. `stopped`: the client reconnects only
   * after `open()`.
   */
  readonly status: 'connecting' | 'open' | 'waiting' | 'stopped'
  /** When the next attempt starts, in epoch milliseconds, if the status is `waiting`. */
  readonly retryAt?: number
  /** The close code of the last connection, if the status is `waiting` or `stopped`. */
  readonly code?: number
  /** The reason of the close, if known. */
  readonly reason?: string
  /** The id that the server gave this connection, if the status is `open`. */
  readonly connection?: string
}

/** The next state. Undefined properties are left out. */
export type NextState = { [K in keyof ClientState]: ClientState[K] | undefined } & {
  status: ClientState['status']
}

/** Holds the state and notifies its subscribers. */
export interface Store {
  readonly state: ClientState
  /** Sets the state. Notifies the subscribers if it differs from the last. */
  set(next: NextState): void
  subscribe(fn: () => void): () => void
}

/** Creates a store. `guard` calls a subscriber, which may throw. */
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
