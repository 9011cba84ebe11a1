// Makes epochs: names of the lives of a log, which sort by age.

import { newId } from '../connection/id.ts'
import { unborn } from '../history/place.ts'

/** Returns a new epoch: the time of birth and random characters. */
export function newEpoch(time: number): string {
  return unborn(time) + newId().slice(0, 8)
}
