// Flushes pending writes at the end of a turn of the event loop.

import { AsyncResource } from 'node:async_hooks'
import { debugConnection, messageOf } from '../debug.ts'

/** Something that has gathered what is to be written, and writes it when the turn ends. */
export interface Flushable {
  flush(): void
}

let touched: Flushable[] = []
/** Taken at the start: a test's fake timers must not hold up every send of the process. */
const later = setImmediate

/** The writes of a turn belong to several senders: they do not run in the context of the first. */
const nobody = new AsyncResource('koaws.turn', { requireManualDestroy: true })

/**
 * Have something flushed when this turn of the event loop ends: after all sockets that were readable
 * have been read (`setImmediate`), so that what many clients caused leaves in one write each.
 */
export function flushAtEndOfTurn(one: Flushable): void {
  if (touched.push(one) === 1) later(endTurn)
}

function endTurn(): void {
  nobody.runInAsyncScope(flushAll)
}

function flushAll(): void {
  const all = touched
  touched = []
  for (const one of all) {
    try {
      one.flush()
    } catch (error) {
      // A stream of somebody else's making: its own fault must not keep the others waiting.
      debugConnection('a flush threw: %s', messageOf(error))
    }
  }
}
