// Rejects prefixes that could make channels of two applications equal.
import { type Check, check, describe } from '../../validate.ts'

/** Matches the beginning of a topic, or of the keys of the history, as a word in a prefix. */
const TOPICS = /(?:^|[^\p{L}\p{N}])(room|user|instance|log):/u

/** Returns the problem of a prefix, or null. `koaws:room:` would be the rooms of `koaws:`. */
export const checkPrefix: Check = (value) => {
  const problem = check.string(value)
  if (problem) return problem
  // Redis Cluster hashes the text in the first braces of a key, unless it is empty: the two keys of
  // a log would be on different nodes.
  if (/^[^{]*\{\}/.test(value as string)) {
    return `is ${describe(value)}: "{}" as the first braces separates keys that must be on one node of a Redis Cluster. Put text between them, or remove them.`
  }
  const [, word] = TOPICS.exec(value as string) ?? []
  return word === undefined
    ? null
    : `is ${describe(value)}: "${word}:" begins the channels of ${word}s, so that channels of two applications could collide. Use another word.`
}
