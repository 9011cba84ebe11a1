// The options of streams: types, defaults and checks.
import { type Check, check, validate } from '../validate.ts'

/** The option `streams`: limits on requests with a stream. */
export interface StreamsOptions {
  /** The most open streams of one connection. Beyond it: `ERR_KOAWS_STREAM_LIMIT`. @default 16 */
  perConnection?: number | undefined
  /** The most open streams of one user on this instance. Beyond it: `ERR_KOAWS_STREAM_LIMIT`. @default 64 */
  perUser?: number | undefined
  /**
   * The most bytes that all streams of this instance hold: items that may have to be sent again, and
   * received items that wait for a handler. Beyond it: `ERR_KOAWS_STREAM_MEMORY`. @default 67_108_864
   */
  bytes?: number | undefined
  /**
   * How long a client may take nothing from a stream that waits for it, or send nothing while a handler
   * reads its items, in milliseconds. After that: `ERR_KOAWS_STREAM_IDLE`. @default 120_000
   */
  idle?: number | undefined
  /**
   * How long a stream of a handler with `resume` goes on without a connection, and how long its answer
   * is kept, in milliseconds. @default 60_000
   */
  resume?: number | undefined
}

/** {@link StreamsOptions}, with the defaults filled in. */
export type ResolvedStreamsOptions = {
  readonly [Name in keyof StreamsOptions]-?: NonNullable<StreamsOptions[Name]>
}

/** Checks the option `streams`. @throws OptionsError for an unknown or wrong option */
export const streamsCheck: Check = (value) => {
  validate('streams', value, {
    perConnection: check.count,
    perUser: check.count,
    bytes: check.count,
    idle: check.milliseconds,
    resume: check.milliseconds,
  })
  return null
}

/** Fills in the defaults. */
export function resolveStreamsOptions(given: StreamsOptions = {}): ResolvedStreamsOptions {
  return {
    perConnection: given.perConnection ?? 16,
    perUser: given.perUser ?? 64,
    bytes: given.bytes ?? 64 * 1024 * 1024,
    idle: given.idle ?? 120_000,
    resume: given.resume ?? 60_000,
  }
}
