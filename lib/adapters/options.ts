// The options of all adapters.
import { type Check, check, validate } from '../validate.ts'

const maxQueued: Check = (value) => {
  validate('maxQueued', value, { messages: check.count, bytes: check.count })
  return null
}

/** The checks of the options that all adapters have. */
export const checkAdapterOptions: Record<string, Check> = {
  heartbeat: check.milliseconds,
  maxQueued,
}
