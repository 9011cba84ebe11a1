// Holds sets of members under names, and reports the first and the last member of each.

/** Is notified when a group gets its first member and when it loses its last. */
export interface GroupWatcher {
  /** Resolves when messages that other instances send to the group arrive here. */
  appeared(name: string): Promise<void> | undefined
  vanished(name: string): void
}

/** Named sets. A group exists while it has a member. */
export class Groups<T> {
  readonly #groups = new Map<string, Set<T>>()
  /** The promises of the watcher that have not settled. */
  readonly #appearing = new Map<string, Promise<void>>()
  readonly #watcher: GroupWatcher

  constructor(watcher: GroupWatcher) {
    this.#watcher = watcher
  }

  get size(): number {
    return this.#groups.size
  }

  get(name: string): ReadonlySet<T> | undefined {
    return this.#groups.get(name)
  }

  /** Returns the watcher's promise for a group while it is pending. */
  appearing(name: string): Promise<void> | undefined {
    return this.#appearing.get(name)
  }

  /** Adds a member. Returns the watcher's promise while it is pending. */
  add(name: string, member: T): Promise<void> | undefined {
    const group = this.#groups.get(name)
    if (group) {
      group.add(member)
      return this.#appearing.get(name)
    }
    this.#groups.set(name, new Set([member]))
    const appeared = this.#watcher.appeared(name)
    if (appeared !== undefined) this.#track(name, appeared)
    return appeared
  }

  delete(name: string, member: T): void {
    const group = this.#groups.get(name)
    if (!group?.delete(member) || group.size > 0) return
    this.#groups.delete(name)
    this.#appearing.delete(name)
    this.#watcher.vanished(name)
  }

  #track(name: string, appeared: Promise<void>): void {
    this.#appearing.set(name, appeared)
    const settled = (): void => {
      if (this.#appearing.get(name) === appeared) this.#appearing.delete(name)
    }
    appeared.then(settled, settled)
  }
}
