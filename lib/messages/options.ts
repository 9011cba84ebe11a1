import { check, validate } from '../validate.ts'

/** The options of `messages()`. */
export interface MessagesOptions {
  /**
   * How many messages of one connection are handled at a time. With 1 they are handled in order; with
   * more they begin in order. @default 1
   */
  concurrency?: number | undefined
  /**
   * The largest message in bytes of UTF-8; a larger one is answered with `ERR_KOAWS_TOO_LARGE`, and one
   * above `maxPayload` closes with 1009. @default 65_536
   */
  maxMessage?: number | undefined
  /** Bad messages within a minute after which a client is closed with 4400. @default 5 */
  maxOffences?: number | undefined
  /**
   * Whether replies and pushes are checked against their schemas too, as far as these are synchronous:
   * what does not fit is an error of the server. @default true, unless NODE_ENV is 'production'
   */
  validateOut?: boolean | undefined
}

/** Check the options of `messages()`, and fill in what is not set. */
export function resolveMessagesOptions(given: MessagesOptions): Required<MessagesOptions> {
  validate('messages()', given, {
    concurrency: check.count,
    maxMessage: check.count,
    maxOffences: check.count,
    validateOut: check.boolean,
  })
  return {
    concurrency: given.concurrency ?? 1,
    maxMessage: given.maxMessage ?? 64 * 1024,
    maxOffences: given.maxOffences ?? 5,
    validateOut: given.validateOut ?? process.env['NODE_ENV'] !== 'production',
  }
}
