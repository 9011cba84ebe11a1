import { setTimeout as pause } from 'node:timers/promises'

/** Bytes in use: collects (`--expose-gc`) until it gets no smaller. */
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
