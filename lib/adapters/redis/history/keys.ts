// The keys and the channel of a log, and its slot in a Redis Cluster.
import { SLOTS } from '../connection.ts'

/** The names of one log in Redis. */
export interface LogNames {
  readonly meta: string
  readonly list: string
  readonly channel: string
}

/** What the topics of logs begin with. */
const LOG = 'log:'

/**
 * Returns the names of a log. Braces around its name put both keys into one slot of a Redis
 * Cluster. The name may contain braces, too: Redis hashes the text up to the first closing one.
 */
export function namesOf(prefix: string, log: string): LogNames {
  const base = `${prefix}${LOG}{${log}}:`
  return { meta: `${base}meta`, list: `${base}list`, channel: prefix + topicOfLog(log) }
}

/** Returns the topic on which the entries of a log arrive. */
export function topicOfLog(log: string): string {
  return LOG + log
}

/** Returns the log of a topic; null for any other topic. */
export function logOfTopic(topic: string): string | null {
  return topic.startsWith(LOG) ? topic.slice(LOG.length) : null
}

/** Returns the slot of a key in a Redis Cluster: CRC16 (polynomial 0x1021) of the text in its first braces. */
export function slotOf(key: string): number {
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? []
  let crc = 0
  for (const byte of Buffer.from(tag ?? key)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
    crc &= 0xffff
  }
  return crc % SLOTS
}
