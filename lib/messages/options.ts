// The options of `messages()`: types, defaults and checks.

import { check, validate } from '../validate.ts'

/** The options of `messages()`. */
export interface MessagesOptions {
  /**
   * How many messages of one connection are handled at a time. With 1, each handler finishes before
   * the next starts; with more, they start in order. @default 1
   */
  concurrency?: number | undefined
  /**
   * The largest message, in bytes of UTF-8. A larger one is answered with `ERR_KOAWS_TOO_LARGE`;
   * above `maxPayload` the connection is closed with 1009. @default 65_536
   */
  maxMessage?: number | undefined
  /**
   * Number of offenses within a minute after which the connection is closed with 4400. @default 5
   */
  maxOffences?: number | undefined
  /**
   * Whether replies and pushes are checked against their schemas too. Asynchronous schemas are
   * skipped. Data that does not match is an error of the server. @default true, unless NODE_ENV is
   * 'production'
   */
  validateOut?: boolean | undefined
}

/** {@link MessagesOptions}, with the defaults filled in. */
export type ResolvedMessagesOptions = {
  readonly [Name in keyof MessagesOptions]-?: NonNullable<MessagesOptions[Name]>
}

/**
 * Checks the options of `messages()`, and fills in the defaults.
 * @throws OptionsError for an option that is unknown or wrong
 */
export function resolveMessagesOptions(given: MessagesOptions): ResolvedMessagesOptions {
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
