/** Told when a group comes to be and when it vanishes. */
export interface GroupWatcher {
  /** Resolves when what is sent to the group elsewhere arrives here. */
  appeared(name: string): Promise<void> | undefined
  vanished(name: string): void
}

/** Sets under names. A group exists as long as somebody is in it. */
export class Groups<T> {
  readonly #groups = new Map<string, Set<T>>()
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

  /** @returns what the watcher gave, when the group is new */
  add(name: string, member: T): Promise<void> | undefined {
    const group = this.#groups.get(name)
    if (group) {
      group.add(member)
      return undefined
    }
    this.#groups.set(name, new Set([member]))
    return this.#watcher.appeared(name)
  }

  delete(name: string, member: T): void {
    const group = this.#groups.get(name)
    if (!group?.delete(member) || group.size > 0) return
    this.#groups.delete(name)
    this.#watcher.vanished(name)
  }
}
