// `Iteration`: the generator of a handler, as a stream runs it.

import { isAbortOf } from './abort.ts'

type Source = AsyncIterable<unknown> | Iterable<unknown>

/** The generator of a handler, which can be made to end. */
export class Iteration {
  readonly #iterator: AsyncIterator<unknown, unknown> | Iterator<unknown, unknown>
  #stopping: Promise<unknown> | null = null

  constructor(source: Source) {
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  }

  next(): Promise<IteratorResult<unknown, unknown>> | IteratorResult<unknown, unknown> {
    return this.#iterator.next()
  }

  /** Makes the generator run its `finally`: at once if it is at a `yield`, otherwise at the next. */
  stop(): void {
    if (this.#stopping !== null) return
    this.#stopping = (async () => this.#iterator.return?.())()
    this.#stopping.catch(ignore)
  }

  /**
   * Resolves when the generator has ended after `stop()`.
   * @throws what it throws on its way out, except that the signal aborted
   */
  async stopped(signal: AbortSignal): Promise<void> {
    try {
      await this.#stopping
    } catch (error) {
      if (!isAbortOf(error, signal)) throw error
    }
  }
}

/** Returns whether the result of a handler is a stream: an async iterable, or a generator. */
export function isStream(value: unknown): value is Source {
  if (typeof value !== 'object' || value === null) return false
  return (
    Symbol.asyncIterator in value ||
    (Symbol.iterator in value && 'next' in value && typeof value.next === 'function')
  )
}

function ignore(): void {}
