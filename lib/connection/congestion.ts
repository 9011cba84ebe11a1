import type { Duplex } from 'node:stream'
import { hasMoved, type Progress, progressOf, takenOf } from './taken.ts'

/** How often those who are behind are looked at, in milliseconds. */
const LOOK_EVERY = 250
/** So many looks in a row without progress, and it has stalled: one second. */
const STALLED_AFTER = 4

/** A connection whose socket did not take all at once. */
export interface Congested {
  readonly socket: Duplex
  /** A look: whether it took something since the last, and whether it has taken nothing for 1 s. */
  progress(moved: boolean, stalled: boolean): void
  /** Everything has been taken. */
  relieved(): void
  /** It has taken nothing between two looks. */
  behind(): void
}

interface Watched {
  progress: Progress
  /** Looks in a row without progress. */
  idle: number
}

const behind = new Map<Congested, Watched>()
/** Who takes nothing before the next turn, and may have by then: what it had taken when it was last seen. */
const unsure = new Map<Congested, number | undefined>()
let timer: NodeJS.Timeout | undefined

/**
 * Watch a connection until everything has been taken. Progress is counted in looks and not in
 * milliseconds: between two of them the loop has turned, so a blocked loop blames nobody.
 */
export function watchProgress(one: Congested): void {
  unsure.delete(one)
  behind.set(one, { progress: progressOf(one.socket), idle: 0 })
  timer ??= setInterval(look, LOOK_EVERY).unref()
}

/** Look later whether it is behind at all: HTTP/2 takes nothing within the turn in which it is given something. */
export function watchWhetherBehind(one: Congested): void {
  unsure.set(one, undefined) // the first look notes it: a whole interval counts
  timer ??= setInterval(look, LOOK_EVERY).unref()
}

export function forgetProgress(one: Congested): void {
  behind.delete(one)
  unsure.delete(one)
  stopWhenIdle()
}

/** For how many milliseconds nothing was taken; 0 for one that is not behind. */
export function idleTime(one: Congested): number {
  return (behind.get(one)?.idle ?? 0) * LOOK_EVERY
}

function look(): void {
  for (const [one, before] of unsure) {
    const { socket } = one
    const taken = takenOf(socket)
    const waits = !socket.destroyed && socket.writableLength > 0
    if (waits && taken !== before) unsure.set(one, taken)
    else {
      unsure.delete(one)
      if (waits) one.behind()
      else one.relieved()
    }
  }
  for (const [one, watched] of behind) {
    if (one.socket.destroyed || one.socket.writableLength === 0) {
      behind.delete(one)
      one.relieved()
      continue
    }
    const now = progressOf(one.socket)
    const moved = hasMoved(watched.progress, now)
    watched.idle = moved ? 0 : watched.idle + 1
    watched.progress = now
    one.progress(moved, watched.idle >= STALLED_AFTER)
  }
  stopWhenIdle()
}

function stopWhenIdle(): void {
  if (behind.size > 0 || unsure.size > 0 || !timer) return
  clearInterval(timer)
  timer = undefined
}
