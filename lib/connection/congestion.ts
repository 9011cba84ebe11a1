// Watches connections after an incomplete write, and detects stalled clients.

import type { Duplex } from 'node:stream'
import { hasMoved, type Progress, progressOf, takenOf } from './taken.ts'

/** The interval between two checks of the congested connections, in milliseconds. */
const LOOK_EVERY = 250
/** So many looks in a row without progress, and it has stalled: one second. */
const STALLED_AFTER = 4

/** In the first turn a client of this process reads, and in the second its socket can be written to. */
const TURNS = 2

/** A connection that could not write everything at once. */
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
/** Connections with a socket that accepted nothing this turn, with the bytes that it had accepted; checked again later. */
const unsure = new Map<Congested, number | undefined>()
let timer: NodeJS.Timeout | undefined
/** Turns of the loop since the last look, up to `TURNS`. */
let turns = 0
let isCounting = false

/**
 * Watch a connection until everything has been taken. Progress is counted in looks and not in
 * milliseconds, and only in looks that the loop has turned between: Node runs several timers that are
 * late in one go, without reading or writing a socket.
 */
export function watchProgress(one: Congested): void {
  unsure.delete(one)
  behind.set(one, { progress: progressOf(one.socket), idle: 0 })
  start()
}

/** Look later whether it is behind at all: HTTP/2 takes nothing within the turn in which it is given something. */
export function watchWhetherBehind(one: Congested): void {
  unsure.set(one, undefined) // the first look notes it: a whole interval counts
  start()
}

export function forgetProgress(one: Congested): void {
  behind.delete(one)
  unsure.delete(one)
  stopWhenIdle()
}

/** Returns for how many milliseconds the socket accepted nothing; 0 when it is not congested. */
export function idleTime(one: Congested): number {
  return (behind.get(one)?.idle ?? 0) * LOOK_EVERY
}

function start(): void {
  if (timer) return
  timer = setInterval(look, LOOK_EVERY).unref()
  countTurns()
}

function countTurns(): void {
  turns = 0
  if (!isCounting) setImmediate(countTurn)
  isCounting = true
}

function countTurn(): void {
  isCounting = ++turns < TURNS
  if (isCounting) setImmediate(countTurn)
}

function look(): void {
  if (turns < TURNS) return
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
  countTurns()
  stopWhenIdle()
}

function stopWhenIdle(): void {
  if (behind.size > 0 || unsure.size > 0 || !timer) return
  clearInterval(timer)
  timer = undefined
}
