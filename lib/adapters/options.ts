import { type Check, check, validate } from '../validate.ts'

const maxQueued: Check = (value) => {
  validate('maxQueued', value, { messages: check.count, bytes: check.count })
  return null
}

/** The options that all adapters have. */
export const checkAdapterOptions: Record<string, Check> = {
  heartbeat: check.milliseconds,
  maxQueued,
}
