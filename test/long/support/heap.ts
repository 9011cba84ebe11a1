import { setTimeout as pause } from 'node:timers/promises'

/** Returns the bytes in use, after collections (`--expose-gc`) until they stop shrinking. */
export async function heapAfterGc(): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 8; i++) {
    gc?.()
    await pause(20)
    const { heapUsed, external } = process.memoryUsage()
    least = Math.min(least, heapUsed + external)
  }
  return least
}
