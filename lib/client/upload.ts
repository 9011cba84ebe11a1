// Sends the items of a source, as far as the server has granted credit.
import { positive } from './envelope.ts'
import type { Source } from './stream-types.ts'

/** Sends the items of one source. */
export interface Upload {
  /** Whether it waits for the source. */
  readonly busy: boolean
  /** Adds credit of the server, unchecked. */
  grant(bytes: unknown): void
  /** Ends the upload early, and calls `return()` of the source. */
  stop(): void
}

/** The callbacks of an upload. */
export interface UploadOwner {
  /**
   * Sends an item and returns its size in bytes.
   *
   * @throws TypeError or RequestError for an item that cannot be sent
   */
  send(value: unknown): number
  /** The source has ended. */
  end(): void
  /** The source failed, or an item could not be sent. */
  fail(error: unknown): void
  /** The upload waits for credit from now on. */
  starve(): void
}

/**
 * Starts to read a source. It waits until there is credit.
 *
 * @throws TypeError when the source is not iterable
 */
export function createUpload(source: Source<unknown> | undefined, owner: UploadOwner): Upload {
  const iterator = iterate(source)
  let credit = 0
  let running = true
  let wake: (() => void) | undefined

  const stop = (): void => {
    if (!running) return
    running = false
    wake?.()
    void close(iterator)
  }

  const run = async (): Promise<void> => {
    let inSource = false
    try {
      while (running) {
        if (credit <= 0) {
          owner.starve()
          await new Promise<void>((resolve) => {
            wake = resolve
          })
          continue
        }
        inSource = true
        const { done, value } = await iterator.next()
        inSource = false
        const item = await value
        if (!running) return
        if (done) {
          running = false
          owner.end()
          return
        }
        credit -= owner.send(item)
      }
    } catch (error) {
      if (!running) return
      // an iterator that threw is closed already
      if (inSource) running = false
      else stop()
      owner.fail(error)
    }
  }
  void run()

  return {
    get busy() {
      return running && credit > 0
    },
    grant(bytes) {
      credit += positive(bytes)
      wake?.()
    },
    stop,
  }
}

function iterate(source: Source<unknown> | undefined): AsyncIterator<unknown> | Iterator<unknown> {
  const { [Symbol.asyncIterator]: async, [Symbol.iterator]: sync } = Object(source)
  const begin = async ?? sync
  if (typeof begin !== 'function') throw new TypeError('The source of an upload must be iterable.')
  return Reflect.apply(begin, source, [])
}

/** Closes an iterator. Its errors have no reader: the request has failed for another reason. */
async function close(iterator: AsyncIterator<unknown> | Iterator<unknown>): Promise<void> {
  try {
    await iterator.return?.()
  } catch {}
}
