// The findings of `checkContract()`.

/** A change that breaks clients, or that cannot be judged. */
export interface ContractFinding {
  /**
   * `breaking`: clients of the old document may fail. `unknown`: a rule changed that this check
   * does not know, such as the text of a `pattern`.
   */
  readonly kind: 'breaking' | 'unknown'
  /** A JSON pointer into the new document; into the old one for a part that was removed. */
  readonly pointer: string
  /** The message type; undefined for servers and channels. */
  readonly type?: string
  /** What changed, as a sentence. */
  readonly message: string
}

/** Collects findings. */
export class Findings {
  readonly list: ContractFinding[] = []
  readonly #compared = new Set<string>()

  add(
    message: string,
    pointer: string,
    type?: string,
    kind: ContractFinding['kind'] = 'breaking',
  ): void {
    this.list.push({ kind, pointer, ...(type !== undefined && { type }), message })
  }

  /** Removes a finding about the envelope of a type. */
  remove(message: string, type: string): void {
    const at = this.list.findIndex(
      (one) => one.type === type && one.message === message && one.pointer.endsWith('/payload'),
    )
    if (at >= 0) this.list.splice(at, 1)
  }

  /** Returns whether a pair of channels is compared for the first time. */
  first(pair: string): boolean {
    if (this.#compared.has(pair)) return false
    this.#compared.add(pair)
    return true
  }
}
